// What the extension uses of the browser's interface for extensions.

interface ExtensionEvent<Listener> {
  addListener(listener: Listener): void;
}

interface ExtensionPort {
  readonly name: string;
  postMessage(message: object): void;
  readonly onMessage: ExtensionEvent<(message: never) => void>;
  readonly onDisconnect: ExtensionEvent<() => void>;
}

interface ExtensionStorage {
  get<Values extends object>(defaults: Values): Promise<Values>;
  set(values: object): Promise<void>;
  remove(key: string): Promise<void>;
  readonly onChanged: ExtensionEvent<() => void>;
}

declare const chrome: {
  runtime: {
    getURL(path: string): string;
    connect(options: { name: string }): ExtensionPort;
    getPlatformInfo(): Promise<object>;
    sendMessage(message: object): Promise<void>;
    readonly onMessage: ExtensionEvent<
      (message: { enhanced: number; frame: string }, sender: { tab?: { id?: number } }) => void
    >;
    readonly onConnect: ExtensionEvent<(port: ExtensionPort) => void>;
  };
  storage: { local: ExtensionStorage; session: ExtensionStorage };
  tabs: {
    query(wanted: { active: boolean; currentWindow: boolean }): Promise<{ id?: number }[]>;
    connect(tab: number, options: { name: string }): ExtensionPort;
    readonly onRemoved: ExtensionEvent<(tab: number) => void>;
  };
  action: {
    getBadgeText(details: { tabId: number }): Promise<string>;
    setBadgeText(details: { tabId: number; text: string }): Promise<void>;
    setBadgeBackgroundColor(details: { tabId: number; color: string }): Promise<void>;
    setTitle(details: { tabId: number; title: string }): Promise<void>;
  };
  offscreen: {
    hasDocument(): Promise<boolean>;
    createDocument(options: { url: string; reasons: string[]; justification: string }): Promise<void>;
  };
};

// Of its service worker.
declare const clients: {
  matchAll(options: {
    includeUncontrolled: boolean;
  }): Promise<{ url: string; postMessage(message: object, transfer: Transferable[]): void }[]>;
};

interface ExtendableMessageEvent extends MessageEvent {
  waitUntil(work: Promise<unknown>): void;
}

// Of Firefox's content scripts.
declare function cloneInto<Value>(value: Value, scope: object): Value;
