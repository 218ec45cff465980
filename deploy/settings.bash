# shellcheck shell=bash
# What scripts/deploy and scripts/release agree on. Each value can be set in the environment instead:
#
#   PROJECT_ID=my-project REGION=europe-west1 scripts/deploy
#
# Read by other scripts, which use the variables: hence
# shellcheck disable=SC2034

PROJECT_ID=${PROJECT_ID:-}
REGION=${REGION:-us-central1}

# The service's name, and the beginning of the names of everything that belongs to it. Two services in
# one project (say, curtail and curtail-staging) share nothing but the project.
SERVICE=${SERVICE:-curtail}

# What short URLs begin with. Empty: the address that Cloud Run gives, which is known beforehand.
BASE_URL=${BASE_URL:-}

# redis: Memorystore, and a network to reach it. none: the memory of each instance is the only cache.
CACHE=${CACHE:-redis}
REDIS_INSTANCE=${REDIS_INSTANCE:-$SERVICE}
REDIS_SIZE_GB=${REDIS_SIZE_GB:-1}
NETWORK=${NETWORK:-$SERVICE}
SUBNET=${SUBNET:-$SERVICE}
# At least a /26. Cloud Run takes addresses from it in blocks of 16.
SUBNET_RANGE=${SUBNET_RANGE:-10.90.0.0/24}

# gmp: a sidecar gives the metrics to Google's Managed Service for Prometheus. none: nobody reads them.
MONITORING=${MONITORING:-none}

DB_INSTANCE=${DB_INSTANCE:-$SERVICE}
DB_TIER=${DB_TIER:-db-custom-1-3840}
DB_VERSION=${DB_VERSION:-POSTGRES_17}
# zonal, or regional for a standby in a second zone at twice the price
DB_AVAILABILITY=${DB_AVAILABILITY:-zonal}
# See the connection budget in service.yaml before changing it.
DB_MAX_CONNECTIONS=${DB_MAX_CONNECTIONS:-100}

REPOSITORY=${REPOSITORY:-$SERVICE}
WORKER_SCHEDULE=${WORKER_SCHEDULE:-7 * * * *}

# candidate: a release is tried at its own address before it gets visitors. none: it is not, for a service
# whose ingress lets nobody in but the load balancer.
SMOKE=${SMOKE:-candidate}

# run: scripts/deploy runs the tests before it builds. none: they ran elsewhere.
TESTS=${TESTS:-run}
# required: a release looks for the provenance that Cloud Build signed for its image. none: for an image built elsewhere.
PROVENANCE=${PROVENANCE:-required}
# true: a release goes on although the traffic is split over revisions, and ends the split.
FORCE=${FORCE:-false}
# Revisions without traffic that are kept, to go back to.
KEEP_REVISIONS=${KEEP_REVISIONS:-10}

# Where rendered files go.
RENDERED=${RENDERED:-rendered}

RUN_ACCOUNT=$SERVICE-run@$PROJECT_ID.iam.gserviceaccount.com
MIGRATE_ACCOUNT=$SERVICE-migrate@$PROJECT_ID.iam.gserviceaccount.com
TEST_ACCOUNT=$SERVICE-test@$PROJECT_ID.iam.gserviceaccount.com
BUILD_ACCOUNT=$SERVICE-build@$PROJECT_ID.iam.gserviceaccount.com
SCHEDULE_ACCOUNT=$SERVICE-schedule@$PROJECT_ID.iam.gserviceaccount.com
SQL_CONNECTION=$PROJECT_ID:$REGION:$DB_INSTANCE
