//! Asking a service, and telling what went wrong in its words.

use std::fmt::Write as _;

use reqwest::{Method, Response, Url};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::text::clean;

/// Who is asked: for the words of errors.
#[derive(Debug, Clone, Copy)]
pub struct Service {
    /// What it is called: `replayer`.
    pub name: &'static str,
    /// The environment variable of its address: `DLQ_URL`.
    pub url_variable: &'static str,
    /// The environment variable of its token: `DLQ_TOKEN`.
    pub token_variable: &'static str,
}

/// Why a command failed.
#[derive(Debug)]
pub enum Failure {
    /// The command makes no sense as it was given.
    Usage(String),
    /// The service did not answer, or what answered is another.
    Unreachable(String),
    /// It answered with a problem.
    Problem(Value),
    /// Writing the output failed.
    Output(std::io::Error),
}

impl Failure {
    /// What to print.
    pub fn told(&self, service: &Service) -> String {
        match self {
            Self::Usage(text) | Self::Unreachable(text) => format!("error: {text}"),
            Self::Output(error) => format!("error: cannot write the output: {error}"),
            Self::Problem(problem) => told(problem, service),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Output(error)
    }
}

/// Title, detail, what is wrong with which field, and where to read on.
fn told(problem: &Value, service: &Service) -> String {
    let name = service.name;
    let text = |name: &str| problem[name].as_str().map(clean);
    let mut told = format!(
        "error: {}",
        text("title").unwrap_or_else(|| format!("the {name} refused"))
    );
    if let Some(detail) = text("detail") {
        let _ = write!(told, "\n  {detail}");
    }
    for error in problem["errors"].as_array().into_iter().flatten() {
        let place = error["pointer"]
            .as_str()
            .or(error["parameter"].as_str())
            .unwrap_or_default();
        let _ = write!(
            told,
            "\n  {}: {}",
            clean(place),
            clean(error["detail"].as_str().unwrap_or_default())
        );
    }
    let nearest: Vec<String> = problem["nearest"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(clean)
        .collect();
    if nearest.len() > 1 {
        let _ = write!(told, "\n  names like it: {}", nearest.join(", "));
    }
    match text("code") {
        Some(code) if code.starts_with("auth.") => {
            let _ = write!(
                told,
                "\n  give the {name}'s token by --token or {}",
                service.token_variable
            );
        }
        Some(code) => {
            let _ = write!(
                told,
                "\n  code {code}; the {name} explains it at /errors/{code}"
            );
        }
        None => {}
    }
    told
}

/// A service at one address.
#[derive(Debug)]
pub struct Client {
    service: Service,
    base: Url,
    token: String,
    http: reqwest::Client,
    /// Whether answers are printed as they are.
    pub json: bool,
}

impl Client {
    /// The service at that address.
    ///
    /// # Errors
    /// [`Failure::Usage`] when that is no address.
    pub fn new(service: Service, url: &str, token: &str, json: bool) -> Result<Self, Failure> {
        let wrong = |problem: String| Failure::Usage(format!("--url {url}: {problem}"));
        let base: Url = url.parse().map_err(|error| wrong(format!("{error}")))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(wrong("begins with neither http:// nor https://".to_owned()));
        }
        // Longer than a service takes for anything.
        let http = reqwest::Client::builder()
            .timeout(std::time::Duration::from_secs(60))
            .build();
        let http = http.map_err(|error| wrong(error.to_string()))?;
        Ok(Self {
            service,
            base,
            token: token.to_owned(),
            http,
            json,
        })
    }

    /// Asks, and gives the answer both as it is and as what it means.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, Option<String>)],
    ) -> Result<(Value, T), Failure> {
        self.read(self.send(Method::GET, path, query, None).await?)
            .await
    }

    /// Asks for something to be done.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: Value,
    ) -> Result<(Value, T), Failure> {
        self.read(self.send(Method::POST, path, &[], Some(body)).await?)
            .await
    }

    /// Asks for bytes.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn bytes(&self, path: &[&str]) -> Result<Vec<u8>, Failure> {
        let response = self.send(Method::GET, path, &[], None).await?;
        Ok(response
            .bytes()
            .await
            .map_err(|error| self.unreachable(&error))?
            .to_vec())
    }

    async fn send(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, Option<String>)],
        body: Option<Value>,
    ) -> Result<Response, Failure> {
        let mut url = self.base.clone();
        // Segments are escaped: a topic or group may hold any character.
        match url.path_segments_mut() {
            Ok(mut segments) => segments.pop_if_empty().push("v1").extend(path),
            Err(()) => {
                return Err(Failure::Usage(format!(
                    "--url {}: cannot have a path",
                    self.base
                )));
            }
        };
        for (name, value) in query {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(name, value);
            }
        }
        let mut request = self.http.request(method, url).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request
            .send()
            .await
            .map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        match response.json().await {
            Ok(problem @ Value::Object(_)) => Err(Failure::Problem(problem)),
            _ => Err(Failure::Unreachable(format!(
                "{} answered {status}, and is no {}; set --url or {}",
                self.base, self.service.name, self.service.url_variable
            ))),
        }
    }

    async fn read<T: DeserializeOwned>(&self, response: Response) -> Result<(Value, T), Failure> {
        let answer: Value = response
            .json()
            .await
            .map_err(|error| self.unreachable(&error))?;
        let meaning = T::deserialize(&answer).map_err(|error| {
            Failure::Unreachable(format!(
                "{} answered something unexpected ({error}); is it a {} of this version?",
                self.base, self.service.name
            ))
        })?;
        Ok((answer, meaning))
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let mut causes = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            let _ = write!(causes, ": {cause}");
            source = cause.source();
        }
        Failure::Unreachable(format!(
            "the {} at {} does not answer: {causes}\n  set its address by --url or {}",
            self.service.name, self.base, self.service.url_variable
        ))
    }
}
