# Sourced. unpack_debs DIR PACKAGE...: unpack (never install) current Debian packages by name, from the signed unstable suite of
# the mirror that this machine already uses. Unstable has the Python and the Emscripten headers that Pyodide is built with.
unpack_debs() {
  local dir=$1; shift
  [ -f "$dir/.complete" ] && return
  rm -rf "$dir"; mkdir -p "$dir/apt/lists/partial" "$dir/deb"
  local mirror keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  mirror=$(apt-get indextargets --format '$(SITE)' 2>/dev/null | grep '/debian$' | sort -u | sed -n 1p)
  printf 'deb [signed-by=%s] %s sid main\n' "$keyring" "${mirror:-https://deb.debian.org/debian}" > "$dir/apt/sid.list"
  local apt=(apt-get -qq -o Dir::Etc::sourcelist="$dir/apt/sid.list" -o Dir::Etc::sourceparts=/dev/null
             -o Dir::State::lists="$dir/apt/lists" -o APT::Sandbox::User=root)
  "${apt[@]}" update
  (cd "$dir/deb" && "${apt[@]}" download "$@")
  local deb
  for deb in "$dir"/deb/*.deb; do dpkg -x "$deb" "$dir/root"; done
  rm -rf "$dir/apt" "$dir/deb"
  touch "$dir/.complete"
}
