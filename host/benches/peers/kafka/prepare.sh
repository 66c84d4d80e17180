#!/bin/sh
# prepare.sh DIR: fetches and builds the peers into DIR. Needs Maven, a JDK from 17 on and Python 3.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1/streams"
cd "$1"
mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$PWD/libs"
javac -cp 'libs/*' -d streams "$here/StreamsPeer.java"
python3 -m venv venv
venv/bin/pip install -q bytewax==0.21.1 orjson==3.11.4 confluent-kafka==2.11.1
