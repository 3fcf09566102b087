"""Writes an event in the transaction that it belongs to: a plain SQL insert, in any language.

    python write_event.py postgres://user@host:5432/database TOPIC KEY TEXT
"""

import json
import sys
import urllib.parse
import uuid

import pg8000.dbapi


def main() -> None:
    url, topic, key, text = sys.argv[1:5]
    parts = urllib.parse.urlparse(url)
    connection = pg8000.dbapi.connect(
        user=parts.username,
        password=parts.password,
        host=parts.hostname,
        port=parts.port or 5432,
        database=parts.path.lstrip("/"),
    )
    cursor = connection.cursor()
    # The service's own change comes first, with the aggregate's row locked: that puts its events in commit order.
    cursor.execute("create table if not exists greeting (key text primary key, text text not null)")
    cursor.execute(
        "insert into greeting (key, text) values (%s, %s) on conflict (key) do update set text = excluded.text",
        (key, text),
    )
    event_id = str(uuid.uuid4())
    headers = {
        "ce_specversion": "1.0",
        "ce_id": event_id,
        "ce_type": "example.GreetingChanged",
        "ce_source": "/example/python",
        "content-type": "application/json",
        "id": event_id,
    }
    cursor.execute(
        "insert into oncebox.outbox (event_id, topic, key, payload, headers)"
        " values (%s::uuid, %s, convert_to(%s, 'utf8'), convert_to(%s, 'utf8'), %s::jsonb)",
        (event_id, topic, key, json.dumps({"text": text}), json.dumps(headers)),
    )
    # Both or neither.
    connection.commit()
    print(event_id)


main()
