//! The clients that questions and orders to a cluster go through. To connect takes fifty milliseconds and an
//! answer one, so those who have a question at the same time share them.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::consumer::BaseConsumer;

use super::client_log::ClientLog;
use super::config::KafkaConfig;
use super::error::KafkaError;
use super::settings::Role;

/// Those of every cluster that somebody holds, by how it is reached.
static OPEN: Mutex<Vec<(KafkaConfig, Weak<Clients>)>> = Mutex::new(Vec::new());

/// Both are made without a broker, and connect when they are used.
pub(super) struct Clients {
    pub asks: BaseConsumer<ClientLog>,
    orders: OnceLock<AdminClient<ClientLog>>,
}

impl Clients {
    /// Those that are open, or new ones.
    pub fn of(config: &KafkaConfig) -> Result<Arc<Clients>, KafkaError> {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|(_, clients)| clients.strong_count() > 0);
        let same = open.iter().find(|(other, _)| other == config);
        if let Some(clients) = same.and_then(|(_, clients)| clients.upgrade()) {
            return Ok(clients);
        }
        let asks = config.client(Role::Admin)?.create_with_context(ClientLog::new("metadata"));
        let asks = asks.map_err(|e| KafkaError::client("making a metadata client", &e))?;
        let clients = Arc::new(Clients { asks, orders: OnceLock::new() });
        open.push((config.clone(), Arc::downgrade(&clients)));
        Ok(clients)
    }

    /// The one that gives orders. Dropping it takes a tenth of a second, so it is made when it is needed.
    pub fn orders(
        &self,
        config: &KafkaConfig,
    ) -> Result<(&AdminClient<ClientLog>, AdminOptions), KafkaError> {
        if self.orders.get().is_none() {
            let made = config.client(Role::Admin)?.create_with_context(ClientLog::new("admin"));
            let made = made.map_err(|e| KafkaError::client("making an admin client", &e))?;
            // Of two that are made at once, one is dropped.
            let _ = self.orders.set(made);
        }
        let timeout = Some(config.connect_timeout());
        let options = AdminOptions::new().request_timeout(timeout).operation_timeout(timeout);
        Ok((self.orders.get().expect("just made"), options))
    }
}

/// A connection for questions to a cluster and orders to it. While it is held, whoever asks with the same
/// configuration uses it; without one, each question connects anew.
///
/// ```
/// # use tideflow_core::kafka::{EmbeddedBroker, end_offsets};
/// # let broker = EmbeddedBroker::start(&[("readings", 2)])?;
/// # let kafka = tideflow_core::kafka::KafkaConfig::plaintext(broker.brokers());
/// let connection = kafka.connect()?;
/// let partitions = kafka.partitions("readings")?; // connects
/// let ends = end_offsets(&kafka, "readings")?; // does not
/// # assert_eq!((partitions, ends.len()), (2, 2));
/// drop(connection);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "it is closed when dropped"]
pub struct Connection {
    _clients: Arc<Clients>,
}

impl KafkaConfig {
    /// A connection that questions go through while it is held. No broker is waited for.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub fn connect(&self) -> Result<Connection, KafkaError> {
        Ok(Connection { _clients: Clients::of(self)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_ask_the_same_cluster_share_a_client_until_the_last_is_gone() {
        let config = KafkaConfig::plaintext("127.0.0.1:1");
        let other = KafkaConfig { client_id: "other".to_string(), ..config.clone() };
        let first = Clients::of(&config).expect("no broker is needed");
        assert!(Arc::ptr_eq(&first, &Clients::of(&config).expect("it is open")));
        assert!(!Arc::ptr_eq(&first, &Clients::of(&other).expect("no broker is needed")));
        let gone = Arc::downgrade(&first);
        let connection = config.connect().expect("it is open");
        drop(first);
        assert!(gone.upgrade().is_some());
        drop(connection);
        assert!(gone.upgrade().is_none());
        let _new = Clients::of(&config).expect("no broker is needed");
    }
}
