#!/bin/bash
# a trap that says something, and a loop that goes on
trap 'echo stopping' TERM
touch /seen/ready
while true; do
  sleep 1
done
