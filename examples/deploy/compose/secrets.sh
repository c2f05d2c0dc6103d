#!/bin/sh
# Makes what compose.yaml reads from secrets/, and leaves what is there. The folder belongs in no repository.
set -eu
cd "$(dirname "$0")"
mkdir -p -m 0700 secrets
cd secrets
random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
# The folder is closed to others; the files are not, because each container reads them as a user of its own.
put() { [ -e "$1" ] || (umask 022 && printf '%s' "$2" > "$1"); }
put database_password "$(random)"
put valkey_password "$(random)"
put database_url "postgresql://polychat:$(cat database_password)@postgresql/polychat"
put valkey_url "valkey://:$(cat valkey_password)@valkey:6379"
put openai_key "${OPENAI_API_KEY:-none: write the key of OpenAI here}"
