#!/bin/bash
term() {
  kill -TERM "$child"
  wait "$child"
  exit 0
}
trap term TERM INT
python3 /seen/app.py handle &
child=$!
wait "$child"
