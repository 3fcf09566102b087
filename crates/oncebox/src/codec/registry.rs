//! A client of the Confluent schema registry API: the three calls that a delivery kit needs.

use std::time::Duration;

use reqwest::{Client, Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

/// How long one call may take: a registry answers in milliseconds, and a caller holds a transaction meanwhile.
const TIMEOUT: Duration = Duration::from_secs(5);
const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// The registry at one address. Nothing is cached here; [`Codec`](super::Codec) does that.
#[derive(Debug, Clone)]
pub struct Registry {
    base: String,
    client: Client,
}

/// What a registry, or the way to it, answered instead of a result.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The configured address is no URL.
    #[error("schema registry address {address:?} is not a URL: {problem}")]
    Address {
        /// The address as configured.
        address: String,
        /// What is wrong with it.
        problem: String,
    },
    /// No answer, or a server error: try again later.
    #[error("schema registry {address} is away: {problem}")]
    Away {
        /// The registry's address.
        address: String,
        /// What happened.
        problem: String,
    },
    /// The registry does not have what was asked for.
    #[error("schema registry {address} has no {what}")]
    NotFound {
        /// The registry's address.
        address: String,
        /// What was asked for.
        what: String,
    },
    /// The registry refuses the schema: not compatible with earlier versions, or not valid.
    #[error("schema registry {address} refuses {what}: {message}")]
    Refused {
        /// The registry's address.
        address: String,
        /// What was asked for.
        what: String,
        /// Its reason.
        message: String,
    },
}

impl RegistryError {
    /// Stable code, with a page under `docs/errors/`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Address { .. } => "registry.address",
            Self::Away { .. } => "registry.away",
            Self::NotFound { .. } => "registry.not_found",
            Self::Refused { .. } => "registry.refused",
        }
    }

    /// Whether waiting helps.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Away { .. })
    }
}

impl Registry {
    /// A client for the API whose base is `address`, for example `http://127.0.0.1:8087/apis/ccompat/v7`.
    ///
    /// # Errors
    /// [`RegistryError::Address`] when that is no HTTP URL.
    pub fn new(address: &str) -> Result<Self, RegistryError> {
        let invalid = |problem: String| RegistryError::Address {
            address: address.to_owned(),
            problem,
        };
        let url: reqwest::Url = address
            .parse()
            .map_err(|error| invalid(format!("{error}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(invalid(format!(
                "scheme {:?} is neither http nor https",
                url.scheme()
            )));
        }
        let client = Client::builder()
            .timeout(TIMEOUT)
            .build()
            .map_err(|error| invalid(error.to_string()))?;
        Ok(Self {
            base: address.trim_end_matches('/').to_owned(),
            client,
        })
    }

    /// Registers a schema under a subject and returns its id; the id of an equal schema that is there already.
    ///
    /// # Errors
    /// [`RegistryError::Refused`] when the subject's compatibility level forbids the change.
    pub async fn register(&self, subject: &str, schema: &str) -> Result<u32, RegistryError> {
        #[derive(Deserialize)]
        struct Registered {
            id: u32,
        }
        let body = json!({ "schema": schema });
        let registered: Registered = self
            .call(
                Method::POST,
                &format!("/subjects/{subject}/versions"),
                Some(body),
                subject,
            )
            .await?;
        Ok(registered.id)
    }

    /// The text of the schema with that id.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`] when the registry never gave that id.
    pub async fn schema(&self, id: u32) -> Result<String, RegistryError> {
        #[derive(Deserialize)]
        struct Found {
            schema: String,
        }
        let found: Found = self
            .call(
                Method::GET,
                &format!("/schemas/ids/{id}"),
                None,
                &format!("schema id {id}"),
            )
            .await?;
        Ok(found.schema)
    }

    /// Sets the compatibility level of a subject, for example `FULL_TRANSITIVE`.
    ///
    /// # Errors
    /// As for the other calls.
    pub async fn set_compatibility(&self, subject: &str, level: &str) -> Result<(), RegistryError> {
        let body = json!({ "compatibility": level });
        let path = format!("/config/{subject}");
        let set = || self.call::<Value>(Method::PUT, &path, Some(body.clone()), subject);
        match set().await {
            // Another client set the subject's first level at the same moment: Apicurio refuses one of the two.
            // Asked again, this is a change of a level that is there.
            Err(RegistryError::Refused { .. }) => set().await.map(drop),
            answer => answer.map(drop),
        }
    }

    /// Asks for the list of subjects, to learn whether the registry answers at all.
    ///
    /// # Errors
    /// [`RegistryError::Away`] when it does not.
    pub async fn ping(&self) -> Result<(), RegistryError> {
        let _: Value = self
            .call(Method::GET, "/subjects", None, "subjects")
            .await?;
        Ok(())
    }

    async fn call<T: serde::de::DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        what: &str,
    ) -> Result<T, RegistryError> {
        let address = || self.base.clone();
        let away = |error: reqwest::Error| RegistryError::Away {
            address: address(),
            problem: describe(&error),
        };
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.base))
            .header("accept", MEDIA_TYPE);
        if let Some(body) = body {
            request = request
                .header("content-type", MEDIA_TYPE)
                .body(body.to_string());
        }
        let response = request.send().await.map_err(away)?;
        let status = response.status();
        if status.is_success() {
            return response.json().await.map_err(away);
        }
        let message = response.text().await.unwrap_or_default();
        Err(match status {
            StatusCode::NOT_FOUND => RegistryError::NotFound {
                address: address(),
                what: what.to_owned(),
            },
            status if status.is_client_error() => RegistryError::Refused {
                address: address(),
                what: what.to_owned(),
                message,
            },
            status => RegistryError::Away {
                address: address(),
                problem: format!("{status}: {message}"),
            },
        })
    }
}

/// An error with its causes: reqwest alone says only "error sending request".
fn describe(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
