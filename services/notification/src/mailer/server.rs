//! The mail server's address, as the setting `smtp_url` states it.

use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::extension::ClientId;
use url::{Host, Url};

/// Where and how to connect. `Debug` shows no password.
#[derive(Clone)]
pub struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) encryption: Encryption,
    pub(super) credentials: Option<Credentials>,
    pub(super) hello: ClientId,
}

/// When a connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encryption {
    /// Never.
    Plain,
    /// By STARTTLS where the server offers it.
    Opportunistic,
    /// By STARTTLS, or the conversation ends.
    Required,
    /// From the first byte.
    Implicit,
}

/// An `smtp_url` that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidServer {
    /// No address at all.
    #[error("it is no address such as smtps://user:password@mail.example.com ({0})")]
    Syntax(#[from] url::ParseError),
    /// Neither smtp nor smtps.
    #[error("its scheme is {0:?}, and can be smtp or smtps")]
    Scheme(String),
    /// No host.
    #[error("it names no host")]
    Host,
    /// A parameter that is not known, or a value that it cannot have.
    #[error(
        "its parameter {0:?} is not known; smtp takes tls=required or tls=opportunistic, smtps takes none"
    )]
    Parameter(String),
    /// A user without a password, the other way round, or percent signs that lead nowhere.
    #[error("it needs both a user and a password, percent-encoded, or neither")]
    Credentials,
}

impl Server {
    /// Reads `smtp://…` or `smtps://…`.
    ///
    /// # Errors
    /// [`InvalidServer`]; its text holds nothing secret.
    pub fn parse(text: &str) -> Result<Self, InvalidServer> {
        let url = Url::parse(text)?;
        let mut encryption = match url.scheme() {
            "smtp" => Encryption::Plain,
            "smtps" => Encryption::Implicit,
            other => return Err(InvalidServer::Scheme(other.to_owned())),
        };
        for (name, value) in url.query_pairs() {
            encryption = match (encryption, &*name, &*value) {
                (Encryption::Plain, "tls", "required") => Encryption::Required,
                (Encryption::Plain, "tls", "opportunistic") => Encryption::Opportunistic,
                _ => return Err(InvalidServer::Parameter(format!("{name}={value}"))),
            };
        }
        let host = match url.host().ok_or(InvalidServer::Host)? {
            Host::Domain("") => return Err(InvalidServer::Host),
            // Without the brackets, which belong to the address in a URL.
            Host::Ipv6(address) => address.to_string(),
            host => host.to_string(),
        };
        let port = url.port().unwrap_or(match encryption {
            Encryption::Plain => 25,
            Encryption::Opportunistic | Encryption::Required => 587,
            Encryption::Implicit => 465,
        });
        let hello = match url.path().trim_matches('/') {
            "" => ClientId::default(),
            name => ClientId::Domain(name.to_owned()),
        };
        Ok(Self {
            credentials: credentials(&url)?,
            host,
            port,
            encryption,
            hello,
        })
    }
}

fn credentials(url: &Url) -> Result<Option<Credentials>, InvalidServer> {
    match (url.username(), url.password()) {
        ("", None) => Ok(None),
        ("", Some(_)) | (_, None) => Err(InvalidServer::Credentials),
        (user, Some(password)) => {
            let (user, password) = (decoded(user)?, decoded(password)?);
            Ok(Some(Credentials::new(user, password)))
        }
    }
}

/// Percent-decoding (RFC 3986, section 2.1), by the form decoder: only `+`, which stands for itself here, differs.
fn decoded(text: &str) -> Result<String, InvalidServer> {
    let text = text.replace('+', "%2B");
    let pair = format!("x={}", text.replace('&', "%26"));
    url::form_urlencoded::parse(pair.as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .filter(|value| !value.contains('\u{fffd}'))
        .ok_or(InvalidServer::Credentials)
}

impl std::fmt::Display for Server {
    /// `host:port`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Server({self}, {:?})", self.encryption)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_and_its_parameter_say_how_to_encrypt() {
        for (text, wanted) in [
            ("smtps://mail.example.com", (Encryption::Implicit, 465)),
            (
                "smtp://mail.example.com?tls=required",
                (Encryption::Required, 587),
            ),
            (
                "smtp://mail.example.com?tls=opportunistic",
                (Encryption::Opportunistic, 587),
            ),
            ("smtp://127.0.0.1", (Encryption::Plain, 25)),
            ("smtp://[::1]:2525", (Encryption::Plain, 2525)),
        ] {
            let server = Server::parse(text).unwrap();
            assert_eq!((server.encryption, server.port), wanted, "{text}");
            assert!(server.credentials.is_none());
        }
        assert_eq!(Server::parse("smtp://[::1]:2525").unwrap().host, "::1");
    }

    #[test]
    fn credentials_are_decoded_and_never_shown() {
        let server =
            Server::parse("smtps://ada%40example.com:a+b%26%25c@mail.example.com/shop.example")
                .unwrap();
        let wanted = Credentials::new("ada@example.com".into(), "a+b&%c".into());
        assert!(server.credentials == Some(wanted));
        assert!(matches!(&server.hello, ClientId::Domain(name) if name == "shop.example"));
        assert_eq!(
            format!("{server:?}"),
            "Server(mail.example.com:465, Implicit)"
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (text, wanted) in [
            (
                "http://mail.example.com",
                InvalidServer::Scheme("http".into()),
            ),
            (
                "smtp://mail.example.com?tls=yes",
                InvalidServer::Parameter("tls=yes".into()),
            ),
            (
                "smtp://mail.example.com?tsl=required",
                InvalidServer::Parameter("tsl=required".into()),
            ),
            (
                "smtps://mail.example.com?tls=required",
                InvalidServer::Parameter("tls=required".into()),
            ),
            ("smtps://ada@mail.example.com", InvalidServer::Credentials),
            (
                "smtps://ada:%ff@mail.example.com",
                InvalidServer::Credentials,
            ),
            ("smtp:mail.example.com", InvalidServer::Host),
        ] {
            assert_eq!(Server::parse(text).unwrap_err(), wanted, "{text}");
        }
        assert!(matches!(
            Server::parse("mail.example.com"),
            Err(InvalidServer::Syntax(_))
        ));
    }
}
