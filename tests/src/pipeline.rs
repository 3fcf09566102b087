//! The platform: databases, topics and schemas of its own, and every service as a process.

use std::path::PathBuf;

use oncebox::codec::Registry;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::client::Client;
use crate::guard::Guard;
use crate::service::Service;

/// The replayer's token in the tests.
pub const TOKEN: &str = "end-to-end-token";
const DATABASES: [&str; 5] = ["order", "inventory", "payment", "notification", "replayer"];

/// A running platform.
#[derive(Debug)]
pub struct Pipeline {
    /// Before every topic and group.
    pub prefix: String,
    /// The services.
    pub order: Service,
    /// See [`Pipeline::order`].
    pub inventory: Service,
    /// See [`Pipeline::order`].
    pub payment: Service,
    /// See [`Pipeline::order`].
    pub notification: Service,
    /// See [`Pipeline::order`].
    pub provider: Service,
    /// See [`Pipeline::order`].
    pub relay: Service,
    /// See [`Pipeline::order`].
    pub replayer: Service,
    /// Held, not used: it ends every service together with this process.
    _guard: Guard,
    server: String,
    name: String,
    /// Logs of the services.
    pub logs: PathBuf,
}

impl Pipeline {
    /// Provisions and starts everything, and waits until all of it is ready.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Like [`Pipeline::start`], with further settings of the order service.
    pub async fn start_with(order_settings: &[(&str, &str)]) -> Self {
        let name = format!("e2e_{}", &uuid::Uuid::now_v7().simple().to_string()[16..]);
        let prefix = format!("{name}.");
        let logs = std::env::var("ONCEBOX_TEST_LOGS")
            .map_or_else(|_| std::env::temp_dir(), PathBuf::from)
            .join(&name);
        std::fs::create_dir_all(&logs).unwrap();
        let server = testkit::postgres_address();
        let pipeline = Self::new(name, prefix, server, logs, order_settings);
        pipeline.provision().await;
        for service in pipeline.services() {
            service.start();
        }
        for service in pipeline.services() {
            service.ready().await;
        }
        pipeline.client().merchant_account("EUR").await;
        pipeline
    }

    fn new(
        name: String,
        prefix: String,
        server: String,
        logs: PathBuf,
        order_settings: &[(&str, &str)],
    ) -> Self {
        let url = |database: &str| database_url(&server, &format!("{name}_{database}"));
        let common = |database: &str| {
            vec![
                ("ONCEBOX_DATABASE_URL", url(database)),
                ("ONCEBOX_KAFKA", testkit::kafka_address()),
                ("ONCEBOX_SCHEMA_REGISTRY", testkit::registry_address()),
                ("ONCEBOX_TOPIC_PREFIX", prefix.clone()),
            ]
        };
        // More dead letters at once than a healthy stream has.
        let service = |database: &str| {
            let mut settings = common(database);
            settings.push(("ONCEBOX_FLOOD__FREE_SLOTS", "1000".to_owned()));
            settings
        };
        let guard = Guard::new();
        let provider = Service::new(
            &guard,
            "payment-provider",
            &logs,
            &[(
                "ONCEBOX_LEDGER_FILE",
                logs.join("ledger.jsonl").display().to_string(),
            )],
        );
        let mut order = service("order");
        order.extend(
            order_settings
                .iter()
                .map(|(key, value)| (*key, (*value).to_owned())),
        );
        let mut payment = service("payment");
        payment.push(("ONCEBOX_PROVIDER_URL", provider.url()));
        let mut replayer = common("replayer");
        replayer.push(("ONCEBOX_TOKEN", TOKEN.to_owned()));
        let mut relay = vec![
            ("ONCEBOX_KAFKA", testkit::kafka_address()),
            ("ONCEBOX_TOPIC_PREFIX", prefix.clone()),
        ];
        let sources: Vec<_> = DATABASES
            .iter()
            .map(|name| {
                (
                    format!("ONCEBOX_SOURCES__{}", name.to_uppercase()),
                    url(name),
                )
            })
            .collect();
        relay.extend(sources.iter().map(|(key, url)| (key.as_str(), url.clone())));
        Self {
            order: Service::new(&guard, "order", &logs, &order),
            inventory: Service::new(&guard, "inventory", &logs, &service("inventory")),
            payment: Service::new(&guard, "payment", &logs, &payment),
            notification: Service::new(&guard, "notification", &logs, &service("notification")),
            relay: Service::new(&guard, "outbox-relay", &logs, &relay),
            replayer: Service::new(&guard, "dlq-replayer", &logs, &replayer),
            provider,
            _guard: guard,
            prefix,
            server,
            name,
            logs,
        }
    }

    async fn provision(&self) {
        let mut admin = PgConnection::connect(&self.server).await.unwrap();
        for database in DATABASES {
            let sql = format!("create database {}_{database}", self.name);
            sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(&mut admin)
                .await
                .unwrap();
        }
        for service in [
            &self.order,
            &self.inventory,
            &self.payment,
            &self.notification,
            &self.replayer,
        ] {
            service.migrate();
        }
        for topic in schemas::topology::topics() {
            let name = format!("{}{}", self.prefix, topic.name);
            testkit::kafka::create_topics(&[&name], topic.partitions).await;
        }
        let registry = Registry::new(&testkit::registry_address()).unwrap();
        schemas::registration::register_all(&registry)
            .await
            .unwrap();
    }

    /// Every service.
    pub fn services(&self) -> [&Service; 7] {
        [
            &self.provider,
            &self.relay,
            &self.order,
            &self.inventory,
            &self.payment,
            &self.notification,
            &self.replayer,
        ]
    }

    /// Speaks HTTP to all of them.
    pub fn client(&self) -> Client {
        Client::new(self)
    }

    /// A topic's full name.
    pub fn topic(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Address of a service's database.
    pub fn database(&self, service: &str) -> String {
        database_url(&self.server, &format!("{}_{service}", self.name))
    }
}

fn database_url(server: &str, name: &str) -> String {
    let (base, _) = server.rsplit_once('/').unwrap();
    format!("{base}/{name}")
}
