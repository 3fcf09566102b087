//! Records and their parts, for people.

use std::io::{self, Write};

pub(crate) use cli_kit::text::{clean, fields, json, number, or_dash, table, time};
use dlq_replayer::api::views::{BytesView, HeaderView, ValueView};

/// Bytes of an undecodable value that are shown.
const DUMPED: usize = 256;

pub(crate) fn bytes(view: Option<&BytesView>) -> String {
    match view {
        None => "-".to_owned(),
        Some(BytesView::Text(text)) => clean(text),
        Some(BytesView::Binary { base64, .. }) => format!("base64:{base64}"),
    }
}

pub(crate) fn headers(out: &mut impl Write, headers: &[HeaderView]) -> io::Result<()> {
    let width = headers
        .iter()
        .map(|header| header.name.chars().count())
        .max()
        .unwrap_or(0);
    for header in headers {
        writeln!(
            out,
            "  {:width$}  {}",
            clean(&header.name),
            bytes(header.value.as_ref())
        )?;
    }
    Ok(())
}

pub(crate) fn value(out: &mut impl Write, value: &ValueView) -> io::Result<()> {
    match value {
        ValueView::None => writeln!(out, "  none (a tombstone)"),
        ValueView::Avro {
            schema_id,
            name,
            json,
        } => {
            writeln!(out, "  {} (schema {schema_id})", clean(name))?;
            let pretty = serde_json::to_string_pretty(json)?;
            pretty
                .lines()
                .try_for_each(|line| writeln!(out, "  {}", clean(line)))
        }
        ValueView::Raw {
            size_bytes,
            hex,
            text,
            why,
            ..
        } => {
            writeln!(out, "  {size_bytes} bytes, not decoded: {}", clean(why))?;
            match (text, hex) {
                (Some(text), _) => text
                    .lines()
                    .try_for_each(|line| writeln!(out, "  {}", clean(line))),
                (None, Some(hex)) => dump(out, hex),
                (None, None) => writeln!(
                    out,
                    "  too long to show; `dlq show ID --raw` writes the bytes"
                ),
            }
        }
    }
}

/// Sixteen bytes a line, as hex and as text.
fn dump(out: &mut impl Write, hex: &str) -> io::Result<()> {
    let bytes = hex::decode(hex).unwrap_or_default();
    for (line, chunk) in bytes[..bytes.len().min(DUMPED)].chunks(16).enumerate() {
        let hex: Vec<String> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
        let text: String = chunk
            .iter()
            .map(|byte| {
                if (0x20..0x7f).contains(byte) {
                    char::from(*byte)
                } else {
                    '.'
                }
            })
            .collect();
        writeln!(out, "  {:06x}  {:47}  {text}", line * 16, hex.join(" "))?;
    }
    if bytes.len() > DUMPED {
        writeln!(out, "  … {} more bytes", bytes.len() - DUMPED)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_dumped_side_by_side() {
        let mut out = Vec::new();
        dump(&mut out, "00ff41").unwrap();
        let line = String::from_utf8(out).unwrap();
        assert!(
            line.starts_with("  000000  00 ff 41 ") && line.ends_with("  ..A\n"),
            "{line:?}"
        );
    }
}
