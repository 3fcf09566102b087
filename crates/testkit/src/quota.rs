//! Quotas of the test stack's broker, which librdkafka's admin client cannot set.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// AlterClientQuotas, in the version before flexible ones: <https://kafka.apache.org/protocol#The_Messages_AlterClientQuotas>.
const ALTER_CLIENT_QUOTAS: i16 = 49;
const VERSION: i16 = 0;

/// Lets whoever calls itself so produce that many bytes a second; none takes the limit away.
///
/// # Panics
/// When the broker refuses.
pub async fn limit_producing(client_id: &str, bytes_per_second: Option<f64>) {
    let mut request = Vec::new();
    request.extend(ALTER_CLIENT_QUOTAS.to_be_bytes());
    request.extend(VERSION.to_be_bytes());
    request.extend(1_i32.to_be_bytes());
    text(&mut request, "testkit");
    let one = 1_i32.to_be_bytes();
    request.extend(one);
    request.extend(one);
    text(&mut request, "client-id");
    text(&mut request, client_id);
    request.extend(one);
    text(&mut request, "producer_byte_rate");
    request.extend(bytes_per_second.unwrap_or_default().to_be_bytes());
    request.push(bytes_per_second.is_none().into());
    let validate_only = false;
    request.push(validate_only.into());

    let address = super::kafka_address();
    let mut broker = TcpStream::connect(address.split(',').next().unwrap())
        .await
        .unwrap();
    broker
        .write_i32(request.len().try_into().unwrap())
        .await
        .unwrap();
    broker.write_all(&request).await.unwrap();
    let mut answer = vec![0; broker.read_i32().await.unwrap().try_into().unwrap()];
    broker.read_exact(&mut answer).await.unwrap();
    // Number of the request, throttle time, number of entries: four bytes each.
    let code = i16::from_be_bytes(answer[12..14].try_into().unwrap());
    let answer = String::from_utf8_lossy(&answer);
    assert_eq!(code, 0, "quota refused: {answer}");
}

fn text(request: &mut Vec<u8>, text: &str) {
    let length = i16::try_from(text.len()).unwrap();
    request.extend(length.to_be_bytes());
    request.extend(text.as_bytes());
}
