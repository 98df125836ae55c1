#!/bin/sh
# A node that follows the primary. For compose.yml, in PostgreSQL's image, as the user postgres.
#
#   replica.sh [SETTINGS]  copies the primary's data if there is none yet, and starts PostgreSQL
#   replica.sh rewind      makes a stopped former primary a replica: what only it has is given up
#
# PRIMARY is how libpq reaches the primary, without the password, which PRIMARY_PASSWORD_FILE names;
# PGDATA is where the data is. Both uses write down whom to follow.
set -eu

PGPASSWORD=$(cat "$PRIMARY_PASSWORD_FILE")
export PGPASSWORD

if [ "${1-}" = rewind ]; then
    # Until its first checkpoint a promoted node passes for what it was, and nothing would be rewound.
    psql --quiet --dbname="$PRIMARY dbname=postgres" --command=CHECKPOINT
    exec pg_rewind --target-pgdata="$PGDATA" --source-server="$PRIMARY dbname=postgres" \
        --write-recovery-conf
fi

# A folder that holds something else isn't touched: this ends with an error then.
if [ -d "$PGDATA" ] && [ ! -s "$PGDATA/PG_VERSION" ]; then rmdir "$PGDATA"; fi
# Under another name until it is whole: what broke off would pass for a database.
while [ ! -s "$PGDATA/PG_VERSION" ]; do
    rm -rf "$PGDATA.new"
    if pg_basebackup --dbname="$PRIMARY" --pgdata="$PGDATA.new" --checkpoint=fast \
        --wal-method=stream --write-recovery-conf; then
        mv "$PGDATA.new" "$PGDATA"
    else
        # The primary isn't there yet, or there is none.
        sleep 2
    fi
done
unset PGPASSWORD
exec docker-entrypoint.sh postgres "$@"
