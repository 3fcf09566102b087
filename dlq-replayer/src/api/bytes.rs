//! Bytes as people can read them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use oncebox::{Codec, Headers, Record};

use super::views::{BytesView, HeaderView, RecordView, ValueView};

/// Hex doubles the size, and nobody reads more than this by eye.
const HEX_BYTES: usize = 64 * 1024;

pub(super) fn bytes(bytes: &[u8]) -> BytesView {
    match readable(bytes) {
        Some(text) => BytesView::Text(text.to_owned()),
        None => BytesView::Binary {
            base64: BASE64.encode(bytes),
            hex: hex(bytes),
        },
    }
}

pub(super) fn headers(headers: &Headers) -> Vec<HeaderView> {
    headers
        .iter()
        .map(|(name, value)| HeaderView {
            name: name.to_owned(),
            value: value.map(bytes),
        })
        .collect()
}

/// Decodes a value. One that cannot be decoded is shown as it is, with the reason: never an error.
pub(super) async fn value(codec: &Codec, value: Option<&[u8]>) -> ValueView {
    let Some(raw) = value else {
        return ValueView::None;
    };
    match codec.decode_json(Some(raw)).await {
        Ok(decoded) => ValueView::Avro {
            schema_id: decoded.schema_id,
            name: decoded.name,
            json: decoded.json,
        },
        Err(error) => ValueView::Raw {
            size_bytes: raw.len(),
            base64: BASE64.encode(raw),
            hex: hex(raw),
            text: readable(raw).map(str::to_owned),
            code: error.code().to_owned(),
            why: error.to_string(),
        },
    }
}

pub(super) async fn record(codec: &Codec, record: Record) -> RecordView {
    RecordView {
        key: record.key.as_deref().map(bytes),
        headers: headers(&record.headers),
        value: value(codec, record.value.as_deref()).await,
        topic: record.topic,
        partition: record.partition,
        offset: record.offset,
        timestamp: record.timestamp,
    }
}

/// Text that a terminal can show: UTF-8 without control characters.
fn readable(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let plain =
        |character: char| !character.is_control() || matches!(character, '\n' | '\r' | '\t');
    text.chars().all(plain).then_some(text)
}

fn hex(bytes: &[u8]) -> Option<String> {
    (bytes.len() <= HEX_BYTES).then(|| hex::encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_text_and_the_rest_is_not() {
        assert_eq!(
            bytes("größe\n".as_bytes()),
            BytesView::Text("größe\n".into())
        );
        for binary in [&[0xff, 0xfe][..], b"nul\0", b"\x1b[31mred"] {
            match bytes(binary) {
                BytesView::Binary { base64, hex } => {
                    assert_eq!(BASE64.decode(base64).unwrap(), binary);
                    assert_eq!(hex::decode(hex.unwrap()).unwrap(), binary);
                }
                BytesView::Text(text) => panic!("{text:?} would be written to a terminal"),
            }
        }
    }
}
