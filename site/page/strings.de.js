// Deutsch: Sätze der Skripte, und dessen, was im HTML steht. Was Python sagt, bleibt englisch.

const number = (/** @type {number} */ value, digits = 0) =>
  value.toLocaleString("de", { minimumFractionDigits: digits, maximumFractionDigits: digits });
const mb = (/** @type {number} */ bytes) => number(bytes / 1e6, 1);
const kb = (/** @type {number} */ bytes) => number(bytes / 1000, 1);

/** @type {import("../types/strings").Text} */
export const TEXT = {
  loading: {
    download: (done, total) => `Der Entrauscher lädt: ${mb(done)} von ${mb(total)} MB`,
    python: () => "Python startet",
    numpy: () => "numpy lädt",
    model: () => "Das Netz lädt",
  },
  ready: (ms) => `Bereit (in ${number(ms / 1000, 1)} s geladen). Nichts von dem, was Sie sagen, verlässt dieses Gerät.`,
  live: "Es hört zu. Sie hören sich ohne das Rauschen.",
  silent:
    "Es hört zu. Setzen Sie Kopfhörer auf und wählen Sie \u201eMir vorspielen\u201c, oder nehmen Sie auf und hören Sie danach.",
  dry: "Es hört zu. Sie hören den unveränderten Ton.",
  waiting: "Es hört zu. Bis der Entrauscher geladen ist, hören Sie den unveränderten Ton.",
  sample: "Das Beispiel läuft, immer wieder, auf dem Weg, den auch das Mikrofon nimmt.",
  suspended:
    "Der Ton ist angehalten: ein Anruf, ein gesperrter Bildschirm, ein anderes Programm. Er geht von selbst weiter.",
  muted:
    "Das Mikrofon ist stumm: sein eigener Schalter, das System oder ein anderes Programm. Es geht von selbst weiter.",
  starting: "Es beginnt. Vielleicht fragt der Browser, ob er das Mikrofon benutzen darf.",
  cancelStart: "Abbrechen",
  stopped: "Angehalten.",
  start: "Start",
  stop: "Stopp",
  enhancementOn: "Entrauschen an",
  enhancementOff: "Entrauschen aus",
  denied:
    "Das Mikrofon wurde nicht erlaubt. Erlauben Sie es in der Adresszeile des Browsers und drücken Sie noch einmal auf Start; Dateien und das Beispiel gehen auch so.",
  absent:
    "Es wurde kein Mikrofon gefunden. Schließen Sie eines an und drücken Sie noch einmal auf Start; Dateien und das Beispiel gehen auch so.",
  busy: "Ein anderes Programm benutzt das Mikrofon. Schließen Sie es und drücken Sie noch einmal auf Start.",
  unplugged:
    "Das Mikrofon wurde abgezogen oder weggenommen. Es geht weiter, wenn es wieder da ist; oder wählen Sie ein anderes und drücken Sie auf Start.",
  defaultDevice: "Das des Systems",
  feedback:
    "Das klang nach Rückkopplung, darum hören Sie sich nicht mehr. Setzen Sie Kopfhörer auf, bevor Sie es wieder anschalten.",
  record: "Aufnehmen",
  stopRecording: "Aufnahme beenden",
  recorded: "Was zu hören war",
  recordedBelow: "Aufgenommen: anzuhören und zu speichern unter \u201eAufnahmen\u201c.",
  insecure:
    "Browser geben das Mikrofon nur Seiten, die über https oder von diesem Gerät (localhost) kommen. Dateien gehen trotzdem.",
  unsupported: "Dieser Browser hat kein AudioWorklet, das dafür nötig ist. Dateien gehen trotzdem.",
  loadFailed: (why) => `Der Entrauscher konnte nicht geladen werden (${why}).`,
  scriptFailed: (name) => `${name} konnte nicht geladen werden`,
  overload:
    "Dieses Gerät ist gerade zu langsam: Sie hören den unveränderten Ton. In einigen Sekunden versuchen wir es wieder.",
  recovered: "Es entrauscht wieder.",
  notShared:
    "Dieser Server sendet keine Isolations-Header, darum nimmt der Ton einen etwas langsameren Weg. Alles geht.",
  decoding: (name) => `${name} wird gelesen`,
  enhancing: (name) => `${name} wird entrauscht`,
  done: (name, seconds, speed) =>
    `${name}: ${number(seconds, 1)} s entrauscht, ${number(speed)}-mal so schnell, wie es dauert.`,
  doneInPart: (name, seconds, speed) =>
    `${name} ist abgeschnitten oder beschädigt: die ersten ${number(seconds, 1)} s waren zu lesen und sind entrauscht, ${number(speed)}-mal so schnell, wie sie dauern.`,
  queued: (name) => `${name} wartet, bis es an der Reihe ist.`,
  fileFailed: (name, why) => `${name} konnte nicht entrauscht werden: ${why}`,
  undecodable: (name) => `${name} ist kein Ton, den dieser Browser lesen kann.`,
  empty: (name) => `${name} enthält keinen Ton.`,
  cancelled: (name) => `${name}: abgebrochen.`,
  channelsChange: (from, to) => `die Zahl der Kanäle wechselt von ${from} auf ${to}`,
  tooLongForWav: "das Ergebnis ist länger als eine WAV-Datei sein kann, 4 GB",
  tooLargeForZip: (bytes) => `das Archiv hätte ${bytes} Bytes; möglich sind 4 GB`,
  noLimit: "ohne Grenze",
  db: (value) => `${value} dB`,
  percent: (value) => `${String(value).replace(".", ",")} %`,
  ms: (value) => `${number(value)} ms`,
  pitch: (hz, voice) => `${number(hz)} Hz, ${number(100 * voice)} %`,
  model: ({ model, kernel, signal_kernel, why_not }) =>
    kernel === null
      ? `${model}, lädt`
      : [
          model,
          kernel === signal_kernel ? kernel : `${kernel}, Signalweg ${signal_kernel}`,
          why_not && `nicht ${why_not}`,
        ]
          .filter(Boolean)
          .join(", "),
  models: {
    "": "das beste für dieses Gerät",
    default: "default, der beste Klang",
    "low-delay": "low-delay, 10 ms verzögert statt 30",
    tiny: "tiny, ein Drittel der Arbeit",
  },
  modelChanged: (text) => `Es geht mit einem anderen Modell weiter: ${text}.`,
  modelTooSlow: "Dieses Gerät ist für das größere Modell zu langsam: es geht mit tiny weiter.",
  failed: (why) => `Etwas ging schief: ${why}`,
  before: "Vorher",
  after: "Nachher",
  download: (name) => `${name} herunterladen`,
  picture: (name) => `Spektrogramm: ${name}`,
  hz: (value) => (value < 1000 ? `${value} Hz` : `${value / 1000} kHz`),
  ago: (seconds) => (seconds ? `\u2212${seconds} s` : "jetzt"),
  lowered: (db, isMost) => `Rauschen um ${isMost ? "mehr als " : ""}${number(db)} dB leiser`,
  noPicture: "dieser Browser macht kein Bild aus so vielen Punkten",
  gains: (count) => `Die ${count} Verstärkungen: hell lässt durch, dunkel dreht leiser`,
};

/** @type {import("../types/strings").Version} */
export const VERSION = {
  version: (model, sha256) => `${model}, Version ${sha256.slice(0, 8)}.`,
  fitted: (name, bytes) => `Mit dem Profil \u201e${name}\u201c an Sie angepasst, ${kb(bytes)} kB.`,
  lastUpdate: (bytes) => `Die letzte Erneuerung wog ${kb(bytes)} kB.`,
  verdict: (text) =>
    text
      ? `Die Prüfung vor der Veröffentlichung (englisch): ${text}`
      : "Es ist das erste seines Namens; die Prüfung hatte keines, mit dem sie es vergleichen konnte.",
  newerWaits: "Es gibt eine neuere Version.",
  newest: "Es ist die neueste Version.",
  updated: ({ from, to, bytes }) =>
    bytes > 0
      ? `Von ${from.slice(0, 8)} auf ${to.slice(0, 8)} erneuert, mit ${kb(bytes)} kB, und geprüft.`
      : `Von ${from.slice(0, 8)} zurück auf ${to.slice(0, 8)}.`,
  notUpdated: (why) => `Nicht erneuert: ${why}. Die benutzte Version bleibt.`,
};

/** @type {import("../types/strings").How} */
export const HOW = {
  listen: "Anhören",
  stopListening: "Stopp",
  ready: "Hören Sie einen Schritt an und wechseln Sie zwischen ihnen, während es läuft.",
  computing: (name) => `Berechnet wird: ${name}`,
  score: (db) => `Stimme ${number(db, 1)} dB über allem, was nicht Stimme ist (SI-SDR)`,
  recording: (left) => `Sprechen Sie jetzt, wo es ruhig ist: ${left} s`,
  silent: "Es war nichts zu hören. Ist es das richtige Mikrofon?",
  applied: (name) => `${name} läuft, wie Sie es geschrieben haben. Hören Sie die letzten Schritte an.`,
  atLine: (line, what) => `Zeile ${line}: ${what}`,
  endless: (seconds) => `Nach ${seconds} s ohne Antwort angehalten; es startet neu.`,
};

/** @type {import("../types/strings").Mine} */
export const MINE = {
  ready: "Bereit. Nehmen Sie Ihre Stimme auf, dann den Raum; nichts davon verlässt dieses Gerät.",
  record: { voice: "Meine Stimme aufnehmen", noise: "Den Raum aufnehmen" },
  stop: (seconds) => `Beenden (${seconds} s)`,
  recording: {
    voice: "Aufnahme. Lesen Sie den Text laut, so laut wie in einem Gespräch.",
    noise: "Aufnahme. Sagen Sie nichts, und lassen Sie den Raum klingen, wie er klingt.",
  },
  reading: (name) => `${name} wird gelesen`,
  recorded: "die Aufnahme",
  taken: (seconds) => `${number(seconds, 1)} s genommen.`,
  unread: (name, why) => `${name} konnte nicht gelesen werden: ${why}`,
  fitting: "Das Modell wird an Ihre Stimme und Ihren Raum angepasst",
  cancelled: "Abgebrochen. Das Modell bleibt, wie es war.",
  refused: (why) => `Nichts wurde geändert: ${why}.`,
  done: "Fertig. Hören Sie den Unterschied an, dann behalten oder verwerfen Sie ihn.",
  better: (db) => `Neben Ihrer Stimme ist alles, was nicht Ihre Stimme ist, ${number(db, 1)} dB leiser als vorher.`,
  judged: (clips, better, fell) =>
    `Das ist an ${clips} Stücken gemessen, die aus Ihren Aufnahmen zurückgehalten wurden: ${better} sind besser, ${fell} fallen um mehr als ein halbes dB.`,
  others: (percent) =>
    `Andere Stimmen in anderen Räumen: die Verstärkungen sind ${number(Math.abs(percent))} % ${percent > 0 ? "weiter vom" : "näher am"} Ideal.`,
  weight: (bytes, seconds) => `Die Änderung wiegt ${kb(bytes)} kB und dauerte ${number(seconds)} s.`,
  sounds: { noisy: "Unverändert", before: "Vorher", after: "Nachher" },
  anyMicrophone: "jedem Mikrofon",
  myRoom: "Mein Raum",
  kept: (name, microphone) => `Behalten als \u201e${name}\u201c. Die erste Seite benutzt es mit ${microphone}.`,
  about: (microphone, model, bytes) => `Mit ${microphone}; Modell ${model}; ${kb(bytes)} kB.`,
  otherVersion: "Es ist für eine andere Version des Modells und wird darum nicht benutzt. Passen Sie es neu an.",
  use: "Benutzen",
  keepFile: "Exportieren",
  share: "Gelerntes teilen",
  shareHas: (numbers, bytes) =>
    `${numbers} Zahlen, um die sich die letzten Schichten ändern würden, und für welches Modell: ${(bytes / 1000).toFixed(1)} kB.`,
  shareLacks: "Kein Ton, kein Text, kein Name, keine Zeit und nichts vom Mikrofon.",
  shareNoise: (noise) =>
    `Jede Zahl ist begrenzt und trägt eigenes Rauschen, ${noise}-mal so groß, wie alles Gelernte sein darf: erst das Mittel vieler Dateien sagt etwas.`,
  shareCosts: (epsilon, delta) =>
    `Von Ihrer Privatsphäre kostet es Epsilon ${epsilon.toFixed(1)} (delta ${delta}), und jede weitere Datei noch einmal so viel. Nichts wird gesendet: Sie sichern eine Datei und geben sie, wem Sie vertrauen.`,
  forget: "Vergessen",
  forgotten: (name) => `\u201e${name}\u201c ist vergessen.`,
  imported: (name) => `Übernommen als \u201e${name}\u201c.`,
  notImported: (name, why) => `${name} wurde nicht übernommen: ${why}. Was da war, bleibt.`,
};

/** @type {Record<string, string>} */
const GROUPS = { F: "Frauen", M: "Männer", room: "mit Hall", dry: "ohne Hall" };

/** @type {import("../types/strings").Trust} */
export const TRUST = {
  measured: (clips, speakers) => `Gemessen an ${clips} Aufnahmen von ${speakers} Menschen.`,
  failed: (why) => `Die Zahlen konnten nicht geladen werden: ${why}`,
  kinds: {
    sex: "Frauen und Männer",
    pitch: "Tonhöhe der Stimme",
    language: "Sprache",
    level: "Pegel der Stimme",
    room: "Räume",
    bandwidth: "Was das Mikrofon durchlässt, bis",
    snr: "Stimme über Geräusch",
  },
  group: (name) => GROUPS[name] ?? name.replace("below", "unter").replace("above", "über").replace(" to ", " bis "),
  counts: (clips, speakers) => (speakers ? `${clips} Aufnahmen, ${speakers} Menschen` : `${clips} Aufnahmen`),
  gain: (mean, low, high) => `${mean.toFixed(2)} (${low.toFixed(2)} bis ${high.toFixed(2)})`,
  small: "zu klein für ein Urteil",
  tooSmall: (names) => `Zu klein für ein Urteil: ${names.map(TRUST.group).join(", ")}.`,
  gap: (gap, best, worst, beyond, chance) =>
    `Zwischen \u201e${TRUST.group(best)}\u201c und \u201e${TRUST.group(worst)}\u201c liegen ${gap.toFixed(2)}: ` +
    (beyond ? "mehr" : "nicht mehr") +
    `, als der Zufall bei so großen Gruppen macht (bis ${chance.toFixed(2)}).`,
  sensitivity: (ratio, leans, agrees) =>
    `Die Verstärkungen folgen dem, woran man Frauen- und Männerstimmen unterscheidet, ${ratio.toFixed(2)}-mal so stark wie anderem: ` +
    `das Modell stützt sich ${leans ? "" : "nicht "}darauf, ` +
    (agrees ? "was zum Abstand passt." : "was der Abstand nicht zeigt."),
  percent: (share) => `${(100 * share).toFixed(0)}\u00a0%`,
  rounds: (clients, delta) =>
    `Was vom Gewinn des Lernens von ${clients} Geräten bleibt, je nach Budget (delta ${delta}):`,
  kept: (epsilon, kept) => `Epsilon ${epsilon}: ${(100 * kept).toFixed(0)} % des Gewinns`,
  members: (plain, noised, epsilon) =>
    `Wer herausfinden will, ob jemand dabei war, hat in ${(100 * plain).toFixed(0)} von 100 Paaren recht` +
    (noised === undefined ? "" : `, mit Epsilon ${epsilon} in ${(100 * noised).toFixed(0)}`) +
    "; durch Raten in 50.",
  secrets: (plain, noised, chance) =>
    `Von Geheimnissen, die dafür hineingelegt wurden, lassen sich ${plain.toFixed(1)} von 8 Bit aus dem Modell lesen` +
    (noised === undefined ? "" : `, mit Rauschen ${noised.toFixed(1)}`) +
    `; durch Raten ${chance.toFixed(1)}.`,
  replaced: (old, name, sum) => `${name} (${sum}) für ${old}`,
  verdict: (passed, share) =>
    `${passed ? "Bestanden" : "Nicht bestanden"}; schlechter bei ${(100 * share).toFixed(0)} % der Aufnahmen.`,
};

/** @type {import("../types/strings").Call} */
export const CALL = {
  loading: "Verbunden. Der Entrauscher lädt; bis dahin wird der unveränderte Ton gesendet.",
  enhanced: "Verbunden und entrauscht.",
  untouched: "Der Entrauscher lädt; bis dahin ist der Ton unverändert.",
  heard: "Entrauscht.",
  notEnhanced: (why) => `Nicht entrauscht: ${why}`,
  failed: (why) => `Kein Gespräch: ${why}`,
  ended: "Nicht verbunden.",
};

/** What the HTML says, by its English. @type {Record<string, string>} */
export const PAGE = {
  "Removes noise from your voice, live, in this tab. No server hears you.":
    "Nimmt das Rauschen von Ihrer Stimme, sofort, in diesem Tab. Kein Server hört mit.",
  "pyenhance: be heard clearly": "pyenhance: klar zu hören",
  "Your voice without the noise, live, in this tab. No server hears you; nothing is installed.":
    "Ihre Stimme ohne das Rauschen, sofort, in diesem Tab. Kein Server hört mit, nichts wird installiert.",
  "How it works, by ear and by eye": "Wie es geht, zum Hören und Sehen",
  "Make it mine": "An mich anpassen",
  Documentation: "Dokumentation (englisch)",
  Microphone: "Mikrofon",
  Start: TEXT.start,
  "Try a sample": "Ein Beispiel",
  "Enhancement on": TEXT.enhancementOn,
  Model: "Modell",
  "The model's version": "Die Version des Modells",
  "Look for a newer version": "Nach einer neueren sehen",
  "Back to the version before": "Zurück zu der davor",
  "The first visit loads some 10 MB, and keeps them. Press Start at once if you like: until they are here you hear the untouched sound.":
    "Der erste Besuch lädt etwa 10 MB und behält sie. Sie können sofort auf Start drücken: bis sie da sind, hören Sie den unveränderten Ton.",
  "Loading the enhancer": "Der Entrauscher lädt",
  "Try again": "Noch einmal versuchen",
  Loading: "Lädt",
  In: "Ein",
  clips: "zu laut",
  Out: "Aus",
  Strength: "Stärke",
  "no limit": TEXT.noLimit,
  "Play it to me (wear headphones: loudspeakers would feed back)":
    "Mir vorspielen (mit Kopfhörern: Lautsprecher koppeln zurück)",
  Record: TEXT.record,
  "The browser's own noise suppression, echo cancellation and gain control are off while this page listens, so that you hear ours alone.":
    "Rausch- und Echounterdrückung und Aussteuerung des Browsers sind aus, solange diese Seite zuhört: Sie hören nur unsere.",
  "What it costs, measured": "Was es kostet, gemessen",
  Delay: "Verzögerung",
  "of these: algorithm, transport, device": "davon Verfahren, Weg, Gerät",
  "Load (share of real time)": "Last (Anteil der Echtzeit)",
  "Microseconds a hop: mean, p99, max": "Mikrosekunden für 10 ms: Mittel, p99, höchstens",
  Underruns: "Aussetzer",
  "Hops: all, lean, passed on": "Stücke zu 10 ms: alle, vereinfacht, unverändert",
  "Pitch, voice": "Tonhöhe, Stimme",
  "Model, kernel": "Modell, Rechenkern",
  Recordings: "Aufnahmen",
  "An example: a voice in a noisy room": "Ein Beispiel: eine Stimme in einem lauten Raum",
  Before: TEXT.before,
  After: TEXT.after,
  "Drop a recording here, or": "Ziehen Sie eine Aufnahme hierher, oder",
  "Choose a file": "Datei wählen",
  "The best sound: by a model five times as slow (6 MB more)":
    "Der beste Klang: mit einem Modell, das fünfmal so lange braucht (6 MB mehr)",
  Enhancing: "Es wird entrauscht",
  Cancel: TEXT.cancelStart,
  "Download all (zip)": "Alle herunterladen (zip)",
  Pictures: "Bilder",
  "Spectrogram of the microphone, scrolling": "Spektrogramm des Mikrofons, laufend",
  "After, and the pitch of the voice": "Nachher, und die Tonhöhe der Stimme",
  "Spectrogram of the enhanced sound with its pitch, scrolling":
    "Spektrogramm des entrauschten Tons mit seiner Tonhöhe, laufend",
  "The gains: bright passes, dark is turned down": "Die Verstärkungen: hell lässt durch, dunkel dreht leiser",
  "The band gains, scrolling": "Die Verstärkungen der Bänder, laufend",
  "Save this picture": "Dieses Bild speichern",
  "An open PercepNet in numpy: critical bands, a pitch comb filter, a small int8 network, 48 kHz. BSD-2-Clause. The page loads only from its own address, and sound never leaves this device.":
    "Ein offenes PercepNet in numpy: Frequenzgruppen, ein Kammfilter auf der Tonhöhe, ein kleines int8-Netz, 48 kHz. BSD-2-Clause. Die Seite lädt nur von ihrer eigenen Adresse, und kein Ton verlässt dieses Gerät.",
  "Kept on this device: it opens without a network.": "Auf diesem Gerät behalten: sie öffnet sich auch ohne Netz.",
  "How a speech enhancer works, step by step, by ear and by eye, with code you can change.":
    "Wie ein Entrauscher arbeitet, Schritt für Schritt, zum Hören und Sehen, mit Code, den man ändern kann.",
  "How pyenhance works": "Wie pyenhance arbeitet",
  "How it works": "Wie es geht",
  "From noise to voice in six steps, by ear and by eye. Every step is computed here, by the enhancer's own code.":
    "Vom Rauschen zur Stimme in sechs Schritten, zum Hören und Sehen. Jeder wird hier berechnet, vom Code des Entrauschers selbst.",
  "Back to the microphone": "Zurück zum Mikrofon",
  "The clip": "Das Stück",
  "To know what is ideal, one must know the clean voice. So a clean clip is mixed with noise, and the first steps may peek at the clean one. Only the last step, the network, hears nothing but the noise and the voice together, as on a call.":
    "Um zu wissen, was ideal ist, muss man die reine Stimme kennen. Darum wird ein reines Stück mit Rauschen gemischt, und die ersten Schritte dürfen auf das reine schauen. Nur der letzte, das Netz, hört nichts als Rauschen und Stimme zusammen, wie in einem Gespräch.",
  "Use my voice (5 seconds)": "Meine Stimme nehmen (5 Sekunden)",
  "Back to the bundled clip": "Zurück zum mitgelieferten Stück",
  "Voice over noise": "Stimme über Rauschen",
  Steps: "Schritte",
  "The noisy sound": "Der verrauschte Ton",
  "What the microphone hears. Time runs to the right, pitch goes up, brightness is level.":
    "Was das Mikrofon hört. Die Zeit läuft nach rechts, die Tonhöhe nach oben, hell ist laut.",
  "Ideal gains, bin by bin": "Ideale Verstärkungen, Frequenz für Frequenz",
  "A hundred times a second the sound is cut into 481 frequencies, 50 Hz apart. Each is turned down to the level that the clean voice has there. Nearly perfect, but 481 numbers are too many to guess in a hundredth of a second.":
    "Hundertmal in der Sekunde wird der Ton in 481 Frequenzen zerlegt, 50 Hz auseinander. Jede wird so leise gedreht, wie die reine Stimme dort ist. Beinahe vollkommen; aber 481 Zahlen sind zu viele, um sie in einer Hundertstelsekunde zu erraten.",
  "Ideal gains in a few bands": "Ideale Verstärkungen in wenigen Bändern",
  "The ear hears in critical bands, and the envelope of a voice is smooth. So one gain a band will do. Listen for the roughness in vowels: noise between the harmonics of the voice passes together with them.":
    "Das Ohr hört in Frequenzgruppen, und die Hüllkurve einer Stimme ist glatt. Darum genügt eine Verstärkung je Band. Achten Sie auf die Rauheit der Vokale: Rauschen zwischen den Obertönen der Stimme kommt mit ihnen durch.",
  Bands: "Bänder",
  "And a comb filter at the voice's pitch": "Und ein Kammfilter auf der Tonhöhe der Stimme",
  "A vowel repeats itself with its pitch, noise does not. Averaging over several periods keeps the one and lowers the other, also between the harmonics. How much of it to mix in is decided band by band.":
    "Ein Vokal wiederholt sich mit seiner Tonhöhe, Rauschen nicht. Das Mittel über mehrere Perioden behält das eine und senkt das andere, auch zwischen den Obertönen. Wie viel davon beigemischt wird, entscheidet sich Band für Band.",
  "Strength of the comb": "Stärke des Kamms",
  "And a post-filter": "Und ein Nachfilter",
  "Bands that are still noisy go down a little further, and the whole is scaled to keep its level.":
    "Bänder, die noch rauschen, werden etwas leiser, und das Ganze behält seinen Pegel.",
  "The network's estimate": "Die Schätzung des Netzes",
  "Now without peeking: a small recurrent network sees the level of each band, how well it repeats at the pitch, and the pitch itself. From these it estimates a gain and a comb strength for each band. This is what you hear on the first page.":
    "Nun ohne hinzuschauen: ein kleines rekurrentes Netz sieht den Pegel jedes Bandes, wie gut es sich mit der Tonhöhe wiederholt, und die Tonhöhe selbst. Daraus schätzt es für jedes Band eine Verstärkung und die Stärke des Kamms. Das hören Sie auf der ersten Seite.",
  "Source:": "Quelltext:",
  "Change the code": "Den Code ändern",
  "These are the enhancer's own functions, in Python with numpy (":
    "Das sind die Funktionen des Entrauschers selbst, in Python mit numpy (",
  "). Change one, press Run, and hear what it was for. Nothing is sent anywhere, and reloading the page undoes it all.":
    "). Ändern Sie eine, führen Sie sie aus, und hören Sie, wozu sie gut war. Nichts wird gesendet, und wer die Seite neu lädt, macht alles ungeschehen.",
  Function: "Funktion",
  "envelope_postfilter: the curve of the gains": "envelope_postfilter: die Kurve der Verstärkungen",
  "mix: sound and combed sound": "mix: Ton und gekämmter Ton",
  "comb_filter: averaging over periods": "comb_filter: das Mittel über Perioden",
  "Python source": "Python-Quelltext",
  Run: "Ausführen",
  Original: "Ursprünglich",
  "All of the enhancer's source": "Der ganze Quelltext des Entrauschers",
  "The same as a notebook": "Dasselbe als Notebook",
  "The six steps and your own changes in Jupyter, with recordings of your own if you like. Put the two sounds beside it.":
    "Die sechs Schritte und eigene Änderungen in Jupyter, mit eigenen Aufnahmen, wenn Sie mögen. Legen Sie die beiden Töne daneben.",
  'After J.-M. Valin et al., "A Perceptually-Motivated Approach for Low-Complexity, Real-Time Enhancement of Fullband Speech", Interspeech 2020.':
    "Nach J.-M. Valin u. a., \u201eA Perceptually-Motivated Approach for Low-Complexity, Real-Time Enhancement of Fullband Speech\u201c, Interspeech 2020.",
  "Fit the speech enhancer to your voice and your room, on your own device.":
    "Den Entrauscher an Ihre Stimme und Ihren Raum anpassen, auf Ihrem eigenen Gerät.",
  "pyenhance: make it mine": "pyenhance: an mich anpassen",
  "Two short recordings fit the enhancer to your voice and your room. They stay on this device, and so does what is learnt from them.":
    "Zwei kurze Aufnahmen passen den Entrauscher an Ihre Stimme und Ihren Raum an. Sie bleiben auf diesem Gerät, und was aus ihnen gelernt wird, auch.",
  "1. Your voice, in quiet": "1. Ihre Stimme, wo es ruhig ist",
  "Where it is quiet, with the microphone that you will use, read this aloud for half a minute. Stop earlier or go on in words of your own, as you like.":
    "Lesen Sie dies eine halbe Minute lang laut vor, wo es ruhig ist, mit dem Mikrofon, das Sie benutzen werden. Hören Sie früher auf oder reden Sie frei weiter, wie Sie mögen.",
  "On quiet mornings the harbour smells of salt and coffee. Two fishermen mend their nets while a grey cat watches from the wall, hoping for breakfast. The first ferry blows its horn at half past six. Children with heavy bags run down the steps, laughing, and somebody always forgets a shoe. By eight the sun has reached the market square. Cheese, plums, fresh bread and yellow flowers change hands, and everyone asks the same question: will the weather hold until Thursday?":
    "An stillen Morgen riecht der Hafen nach Salz und Kaffee. Zwei Fischer flicken ihre Netze, und eine graue Katze schaut von der Mauer zu und hofft auf ein Frühstück. Um halb sieben tutet die erste Fähre. Kinder mit schweren Taschen laufen lachend die Treppe hinunter, und immer vergisst eines einen Schuh. Um acht hat die Sonne den Marktplatz erreicht. Käse, Pflaumen, frisches Brot und gelbe Blumen wechseln die Hände, und alle fragen dasselbe: Hält das Wetter bis Donnerstag?",
  "Record my voice": MINE.record.voice,
  "Take a file for the voice": "Eine Datei für die Stimme",
  "Level of your voice": "Pegel Ihrer Stimme",
  "2. The room's noise": "2. Das Geräusch des Raums",
  "Then say nothing for twenty seconds, and let the room sound as it does when it disturbs: the fan, the street, the keyboard.":
    "Dann sagen Sie zwanzig Sekunden lang nichts und lassen den Raum klingen, wie er klingt, wenn er stört: der Lüfter, die Straße, die Tastatur.",
  "Record the room": MINE.record.noise,
  "Take a file for the room": "Eine Datei für den Raum",
  "Level of the room": "Pegel des Raums",
  "3. Before and after": "3. Vorher und nachher",
  "Fit it": "Anpassen",
  Fitting: "Es wird angepasst",
  "Your voice in your room, in a mix that was not learnt from. Change between the three while they play.":
    "Ihre Stimme in Ihrem Raum, in einer Mischung, aus der nicht gelernt wurde. Wechseln Sie zwischen den dreien, während sie läuft.",
  Untouched: MINE.sounds.noisy,
  Name: "Bezeichnung",
  "Keep it": "Behalten",
  "Discard it": "Verwerfen",
  "Kept on this device": "Auf diesem Gerät behalten",
  "Nothing yet.": "Noch nichts.",
  "Import a profile": "Ein Profil importieren",
  "The recordings are mixed here, and the last layers of the network are fitted to the mixes, held by a summary of public data. A third is held out: where the result is not better on it, or worse for others, the model stays as it ships.":
    "Die Aufnahmen werden hier gemischt und die letzten Schichten des Netzes an die Mischungen angepasst, gehalten von einer Zusammenfassung öffentlicher Daten. Ein Drittel wird zurückgehalten: ist das Ergebnis dort nicht besser, oder für andere schlechter, bleibt das Modell, wie es ausgeliefert wurde.",
  "Whom the speech enhancer serves how well, what shared learning gives away, and what each new model had to pass.":
    "Wem der Entrauscher wie gut dient, was gemeinsames Lernen verrät, und was jedes neue Modell bestehen musste.",
  "pyenhance: who is it good for?": "pyenhance: für wen ist es gut?",
  "Who is it good for?": "Für wen ist es gut?",
  "Better on average is not enough. This is whom the enhancer serves how well, what learning from many gives away, and what each new model had to pass.":
    "Im Mittel besser ist nicht genug. Hier steht, wem der Entrauscher wie gut dient, was das Lernen von vielen verrät, und was jedes neue Modell bestehen musste.",
  "The same for everyone?": "Für alle gleich?",
  "Recordings of people whom no model has heard, in noise that none has learnt. The dot is how much clearer the enhancer makes them (PESQ-WB, a scale from 1 to 4.6), the line is how sure that is: in 19 of 20 such sets of speakers it would lie within.":
    "Aufnahmen von Menschen, die kein Modell gehört hat, in Geräuschen, die keines gelernt hat. Der Punkt sagt, um wie viel klarer der Entrauscher sie macht (PESQ-WB, von 1 bis 4,6), der Strich, wie sicher das ist: in 19 von 20 solchen Gruppen von Menschen läge er darin.",
  "Loading the figures": "Die Zahlen werden geladen",
  "What shared learning gives away": "Was gemeinsames Lernen verrät",
  "Devices can learn together: each sends a change of some layers, never sound, and noise is added to it. Epsilon says how much one person's part can show in the result; the smaller, the less. These are simulated rounds over recorded speakers: the models that ship have not learnt from any visitor.":
    "Geräte können gemeinsam lernen: jedes gibt eine Änderung einiger Schichten ab, nie Ton, und Rauschen kommt dazu. Epsilon sagt, wie sehr sich der Anteil eines Menschen im Ergebnis zeigen kann; je kleiner, desto weniger. Das hier sind simulierte Runden mit aufgenommenen Stimmen: die Modelle, die ausgeliefert werden, haben von keinem Besucher gelernt.",
  "What a new model had to pass": "Was ein neues Modell bestehen musste",
  "A new model replaces an old one only if it is better on average, worse on few clips, and much worse on none.":
    "Ein neues Modell ersetzt ein altes nur, wenn es im Mittel besser ist, bei wenigen Aufnahmen schlechter und bei keiner viel schlechter.",
  "No set of recordings with ages was found that may be used, so nothing is known of age; of accents there is only what a language's name tells.":
    "Aufnahmen mit Altersangaben, die verwendet werden dürfen, wurden nicht gefunden; über das Alter ist also nichts bekannt, über Akzente nur, was der Name einer Sprache sagt.",
  "What the file would say": "Was in der Datei stünde",
  "Save the file": "Die Datei sichern",
  "Leave it": "Lieber nicht",
};
