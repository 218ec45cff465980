# shellcheck shell=bash
# How scripts/deploy and scripts/release run, print and render. Sourced, with DRY_RUN set before.

# Messages of functions whose output is captured go here, in order with all others.
exec 3>&1

# gcloud must fail rather than wait for an answer that nobody gives.
export CLOUDSDK_CORE_DISABLE_PROMPTS=1

fail() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

say() { printf '\n== %s\n' "$*"; }

# One line that can be copied into a shell.
shown() {
  local word line=''
  for word in "$@"; do
    if [[ $word =~ ^[A-Za-z0-9_./:=@,%+~-]+$ ]]; then line+=" $word"; else line+=" '${word//\'/\'\\\'\'}'"; fi
  done
  printf '%s' "${line:1}"
}

# Changes something: printed always, carried out unless this is a dry run.
run() {
  printf '+ %s\n' "$(shown "$@")"
  [[ $DRY_RUN ]] || "$@"
}

# Is it there already? A dry run asks nobody and supposes an empty project.
exists() {
  if [[ $DRY_RUN ]]; then
    printf '? %s\n' "$(shown "$@")"
    return 1
  fi
  "$@" >/dev/null 2>&1
}

# ask STAND-IN COMMAND...: what COMMAND prints; STAND-IN in a dry run.
ask() {
  local stand_in=$1
  shift
  if [[ $DRY_RUN ]]; then
    printf '? %s\n' "$(shown "$@")" >&3
    printf '%s' "$stand_in"
  else
    "$@"
  fi
}

# Google's records of new accounts and roles take a while to be known everywhere.
patiently() {
  local try
  for try in 1 2 3 4 5 6; do
    if run "$@"; then return; fi
    [[ $try == 6 ]] || { echo "  not yet; trying again in 10 s" >&2 && sleep 10; }
  done
  fail "gave up: $(shown "$@")"
}

# render FILE: FILE with every ${NAME} replaced by the variable NAME, into $RENDERED. A place without a
# value is an error here, and not an empty string in production.
render() {
  local file=$1 text name value target
  target=$RENDERED/$(basename "$file")
  text=$(<"$file")
  if [[ $CACHE == none ]]; then text=$(sed '/# cache >>>/,/# cache <<</d' <<<"$text"); fi
  if [[ $MONITORING == none ]]; then text=$(sed '/# monitoring >>>/,/# monitoring <<</d' <<<"$text"); fi
  while [[ $text =~ \$\{([A-Z][A-Z0-9_]*)\} ]]; do
    name=${BASH_REMATCH[1]}
    value=${!name:-}
    [[ $value ]] || fail "$file needs $name, which has no value"
    # Nothing that could end a YAML string or begin another place.
    [[ $value =~ ^[A-Za-z0-9_./:@%+~-]+$ ]] || fail "$name holds a character that $file cannot take: $value"
    text=${text//"\${$name}"/"$value"}
  done
  mkdir -p "$RENDERED"
  printf '%s\n' "$text" >"$target"
  echo "  $file -> $target"
}

check_settings() {
  ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 404)) || fail "bash 4.4 or newer is needed; this is $BASH_VERSION"
  [[ $PROJECT_ID ]] || fail "PROJECT_ID is not set: the id of the Google Cloud project, for example PROJECT_ID=my-project $0"
  [[ $PROJECT_ID =~ ^[a-z][a-z0-9-]{4,28}[a-z0-9]$ ]] || fail "PROJECT_ID is not a project id: $PROJECT_ID"
  [[ $REGION =~ ^[a-z]+-[a-z]+[0-9]+$ ]] || fail "REGION is not a region such as us-central1: $REGION"
  # The accounts are called after it, and an account's name has 30 characters at most.
  [[ $SERVICE =~ ^[a-z][a-z0-9-]{1,18}[a-z0-9]$ ]] || fail "SERVICE must be 3 to 20 lower-case letters, digits and hyphens: $SERVICE"
  [[ $CACHE == redis || $CACHE == none ]] || fail "CACHE must be redis or none: $CACHE"
  [[ $MONITORING == gmp || $MONITORING == none ]] || fail "MONITORING must be gmp or none: $MONITORING"
  [[ $SMOKE == candidate || $SMOKE == none ]] || fail "SMOKE must be candidate or none: $SMOKE"
  [[ $TESTS == run || $TESTS == none ]] || fail "TESTS must be run or none: $TESTS"
  [[ $PROVENANCE == required || $PROVENANCE == none ]] || fail "PROVENANCE must be required or none: $PROVENANCE"
  [[ $FORCE == true || $FORCE == false ]] || fail "FORCE must be true or false: $FORCE"
  [[ $KEEP_REVISIONS =~ ^[0-9]+$ ]] || fail "KEEP_REVISIONS must be a number: $KEEP_REVISIONS"
  [[ ! $BASE_URL || $BASE_URL =~ ^https?://[A-Za-z0-9.-]+(:[0-9]+)?$ ]] || fail "BASE_URL must be a scheme and a host, without a slash at the end: $BASE_URL"
  command -v gcloud >/dev/null || [[ $DRY_RUN ]] || fail "gcloud is not installed: https://cloud.google.com/sdk/docs/install"
}

# Cloud Run's address of a service can be told before there is one.
settle_base_url() {
  [[ $BASE_URL ]] && return
  PROJECT_NUMBER=${PROJECT_NUMBER:-$(ask 123456789012 gcloud projects describe "$PROJECT_ID" '--format=value(projectNumber)')}
  [[ $PROJECT_NUMBER =~ ^[0-9]+$ ]] || fail "could not learn the number of project $PROJECT_ID"
  BASE_URL=https://$SERVICE-$PROJECT_NUMBER.$REGION.run.app
}
