#!/bin/bash
cd /tmp
python3 /seen/app.py handle
echo "it ended"
