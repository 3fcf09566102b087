//! Tables and lines for people.

use std::io::{self, Write};

use chrono::{DateTime, SecondsFormat, Utc};
use dlq_replayer::api::views::{BytesView, HeaderView, ValueView};
use serde_json::Value;

/// Longest text in a column.
const WIDEST: usize = 60;
/// Bytes of an undecodable value that are shown.
const DUMPED: usize = 256;

/// Text without characters that would steer the terminal: records come from anybody.
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .map(|character| {
            if character.is_control() {
                '\u{fffd}'
            } else {
                character
            }
        })
        .collect()
}

pub(crate) fn or_dash(text: Option<&str>) -> String {
    text.map_or_else(|| "-".to_owned(), clean)
}

pub(crate) fn number<T: ToString>(number: Option<T>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

pub(crate) fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

pub(crate) fn bytes(view: Option<&BytesView>) -> String {
    match view {
        None => "-".to_owned(),
        Some(BytesView::Text(text)) => clean(text),
        Some(BytesView::Binary { base64, .. }) => format!("base64:{base64}"),
    }
}

/// Writes JSON as it came.
pub(crate) fn json(value: &Value) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value)?;
    writeln!(out)
}

/// Writes rows under their titles, columns aligned, nothing behind the last.
pub(crate) fn table(titles: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let cut = |cell: &str| -> String {
        if cell.chars().count() <= WIDEST {
            return cell.to_owned();
        }
        cell.chars().take(WIDEST - 1).chain(['…']).collect()
    };
    let rows: Vec<Vec<String>> =
        std::iter::once(titles.iter().map(|title| (*title).to_owned()).collect())
            .chain(
                rows.iter()
                    .map(|row| row.iter().map(|cell| cut(cell)).collect()),
            )
            .collect();
    let widths: Vec<usize> = (0..titles.len())
        .map(|column| {
            rows.iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:width$}  "));
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// Writes `name  value` lines, without those that have no value.
pub(crate) fn fields(out: &mut impl Write, fields: &[(&str, Option<String>)]) -> io::Result<()> {
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in fields {
        if let Some(value) = value {
            writeln!(out, "{name:width$}  {value}")?;
        }
    }
    Ok(())
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
    fn a_record_cannot_steer_the_terminal() {
        assert_eq!(clean("\x1b[2Jred\n"), "\u{fffd}[2Jred\u{fffd}");
    }

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
