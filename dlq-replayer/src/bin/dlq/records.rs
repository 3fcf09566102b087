//! `dlq browse`, `dlq find`.

use std::io::{self, Write as _};
use std::time::Duration;

use dlq_replayer::api::views::{RecordPage, RecordView};
use serde_json::{Value, json};

use crate::args::{Browse, Find};
use crate::text::{self, bytes, clean, time};
use cli_kit::Done;
use cli_kit::{Client, Failure};

/// The largest page that the API gives.
const PAGE: usize = 100;
/// How often new records are asked for.
const FOLLOW: Duration = Duration::from_millis(500);

pub(crate) async fn browse(client: &Client, query: Browse) -> Result<Done, Failure> {
    let path = ["topics", &query.topic, "records"];
    let partition = query.partition.map(|partition| partition.to_string());
    let mut output = Output {
        json: client.json,
        lines: query.follow,
        headers: query.headers,
        shown: 0,
        held: Vec::new(),
    };
    // The newest records are one page; a page cannot be asked for backwards.
    let newest = query.from == "latest";
    let wanted = query.limit as usize;
    let mut place = [("from", Some(query.from)), ("cursor", None)];
    let last = loop {
        let mut asked = place.to_vec();
        asked.push(("limit", Some((wanted - output.shown).min(PAGE).to_string())));
        asked.push(("partition", partition.clone()));
        let (answer, page): (Value, RecordPage) = client.get(&path, &asked).await?;
        output.take(&answer, &page)?;
        place = [("from", None), ("cursor", page.next.clone())];
        if page.at_end || newest || output.shown >= wanted {
            break page;
        }
        if page.truncated {
            eprintln!("the topic is read slowly; going on");
        }
    };
    if newest && wanted > PAGE {
        eprintln!(
            "--from latest shows {PAGE} records at most; use --from with an instant, an age or an offset for more"
        );
    }
    if !query.follow {
        return output.finish(&last);
    }
    let mut next = last.next;
    loop {
        tokio::time::sleep(FOLLOW).await;
        let asked = [
            ("cursor", next),
            ("limit", Some(PAGE.to_string())),
            ("partition", partition.clone()),
        ];
        let (answer, page): (Value, RecordPage) = client.get(&path, &asked).await?;
        output.take(&answer, &page)?;
        next = page.next;
    }
}

pub(crate) async fn find(client: &Client, query: Find) -> Result<Done, Failure> {
    let path = ["topics", &query.topic, "find"];
    let what = [
        ("key", query.key),
        ("event_id", query.event_id),
        (
            "partition",
            query.partition.map(|partition| partition.to_string()),
        ),
    ];
    let wanted = query.limit as usize;
    let mut output = Output {
        json: client.json,
        lines: false,
        headers: query.headers,
        shown: 0,
        held: Vec::new(),
    };
    let mut place = [
        ("from", Some(query.from)),
        ("to", query.to),
        ("cursor", None),
    ];
    let mut scanned = 0;
    let last = loop {
        let mut asked = what.to_vec();
        asked.extend(place);
        asked.push(("limit", Some((wanted - output.shown).min(PAGE).to_string())));
        let (answer, page): (Value, RecordPage) = client.get(&path, &asked).await?;
        output.take(&answer, &page)?;
        scanned += page.scanned;
        if page.truncated {
            eprintln!("{scanned} records searched so far");
        }
        if page.next.is_none() || output.shown >= wanted {
            break page;
        }
        place = [("from", None), ("to", None), ("cursor", page.next)];
    };
    if !client.json {
        eprintln!(
            "{scanned} records searched{}",
            if last.at_end {
                ""
            } else {
                "; there may be more: --limit N"
            }
        );
    }
    output.finish(&last)
}

/// Shows records as they come; JSON is held back, since it is one document.
struct Output {
    json: bool,
    /// One JSON document a line instead, for an output that does not end.
    lines: bool,
    headers: bool,
    shown: usize,
    held: Vec<Value>,
}

impl Output {
    fn take(&mut self, answer: &Value, page: &RecordPage) -> io::Result<()> {
        self.shown += page.items.len();
        let items = answer["items"].as_array().into_iter().flatten();
        if self.json && self.lines {
            let mut out = io::stdout().lock();
            for item in items {
                writeln!(out, "{item}")?;
            }
            return out.flush();
        }
        if self.json {
            self.held.extend(items.cloned());
            return Ok(());
        }
        page.items
            .iter()
            .try_for_each(|record| print(record, self.headers))
    }

    fn finish(self, last: &RecordPage) -> Result<Done, Failure> {
        if self.json && !self.lines {
            text::json(&json!({ "items": self.held, "next": last.next, "at_end": last.at_end }))?;
        } else if self.shown == 0 && !self.json {
            eprintln!("no record");
        }
        Ok(if self.shown == 0 {
            Done::Nothing
        } else {
            Done::Something
        })
    }
}

fn print(record: &RecordView, headers: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let at = record.timestamp.map(time).unwrap_or_default();
    let key = bytes(record.key.as_ref());
    writeln!(
        out,
        "{}/{}/{}  {at}  key {key}",
        clean(&record.topic),
        record.partition,
        record.offset
    )?;
    if headers {
        text::headers(&mut out, &record.headers)?;
    }
    text::value(&mut out, &record.value)?;
    writeln!(out)
}
