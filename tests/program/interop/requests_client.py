"""Sends requests with requests: requests_client.py URL PARALLEL COUNT. Prints the status or the error of each answer."""

import sys
from concurrent.futures import ThreadPoolExecutor
from threading import local

import requests

url, parallel, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
sessions = local()


def ask(number):
    """Every second request uses a persistent connection."""
    if not hasattr(sessions, "kept"):
        sessions.kept = requests.Session()
    asker = sessions.kept if number % 2 else requests
    try:
        answer = asker.get(url, timeout=30)
        answer.content
        return answer.status_code
    except requests.RequestException as error:
        return error


with ThreadPoolExecutor(parallel) as threads:
    for answer in threads.map(ask, range(count)):
        print(answer)
