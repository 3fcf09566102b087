//! One conversation with the mail server (RFC 5321), each command with the stage that it belongs to.

use std::time::Duration;

use lettre::address::Envelope;
use lettre::transport::smtp::authentication::DEFAULT_MECHANISMS;
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};

use super::error::{NotSent, Stage};
use super::server::{Encryption, Server};

/// An open connection, past the login.
pub(super) struct Session(AsyncSmtpConnection);

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Session")
    }
}

impl Session {
    pub(super) async fn open(
        server: &Server,
        timeout: Duration,
        stage: &mut Stage,
    ) -> Result<Self, NotSent> {
        *stage = Stage::Connect;
        let failed = |stage: Stage| move |error| NotSent::failed(stage, server, &error);
        let tls = || TlsParameters::new(server.host.clone()).map_err(failed(Stage::Connect));
        let implicit = match server.encryption {
            Encryption::Implicit => Some(tls()?),
            _ => None,
        };
        let mut connection = AsyncSmtpConnection::connect_tokio1(
            (server.host.as_str(), server.port),
            Some(timeout),
            &server.hello,
            implicit,
            None,
        )
        .await
        .map_err(failed(*stage))?;
        let upgrade = match server.encryption {
            Encryption::Required => true,
            Encryption::Opportunistic => connection.can_starttls(),
            Encryption::Plain | Encryption::Implicit => false,
        };
        if upgrade {
            connection
                .starttls(tls()?, &server.hello)
                .await
                .map_err(failed(*stage))?;
        }
        if let Some(credentials) = &server.credentials {
            *stage = Stage::Login;
            connection
                .auth(DEFAULT_MECHANISMS, credentials)
                .await
                .map_err(failed(*stage))?;
        }
        Ok(Self(connection))
    }

    /// Whether the other end is still there.
    pub(super) async fn answers(&mut self) -> bool {
        self.0.test_connected().await
    }

    /// One message from sender to the final dot. After an error the session is of no use any more.
    pub(super) async fn deliver(
        &mut self,
        envelope: &Envelope,
        message: &[u8],
        stage: &mut Stage,
    ) -> Result<(), NotSent> {
        *stage = Stage::Sender;
        let sender = Mail::new(envelope.from().cloned(), Vec::new());
        self.0
            .command(sender)
            .await
            .map_err(|error| NotSent::answered(*stage, &error))?;
        *stage = Stage::Recipient;
        for recipient in envelope.to() {
            let recipient = Rcpt::new(recipient.clone(), Vec::new());
            self.0
                .command(recipient)
                .await
                .map_err(|error| NotSent::answered(*stage, &error))?;
        }
        *stage = Stage::Content;
        self.0
            .command(Data)
            .await
            .map_err(|error| NotSent::answered(*stage, &error))?;
        *stage = Stage::End;
        self.0
            .message(message)
            .await
            .map_err(|error| NotSent::answered(*stage, &error))?;
        Ok(())
    }
}
