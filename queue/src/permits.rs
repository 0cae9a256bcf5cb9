//! What the user of a connection may do, by the server's own rules.

use std::collections::BTreeSet;

use crate::client::Client;
use crate::keys::{Key, Keys, channel};
use crate::script::{Script, args};
use crate::{Error, QueueName, rights};

/// The namespace and name of a queue that nobody has, whose keys are asked about.
const NOBODYS: (&str, &str) = ("taskqueue", "doctor");
/// What a call of a script cannot go without, so that no script need ask.
const OF_THE_CALL: [&str; 2] = ["evalsha", "script|load"];

/// Rights that a user lacks, as the commands that it may not give, such as `hset`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lacking {
    /// Of what workers, the operator and `tq` need.
    pub commands: BTreeSet<String>,
    /// Whether all is there that it takes to enqueue tasks, to look at them and to cancel them.
    pub produces: bool,
}

impl Client {
    /// Which of the rights that this crate needs the user lacks, on the keys of a namespace and the channel
    /// of this client's prefix; without a namespace on those of one that nobody has. Asks and changes
    /// nothing. A user that may not even call a script there is [`Error::AuthFailed`].
    pub async fn lacking_rights(&self, namespace: Option<&str>) -> Result<Lacking, Error> {
        let prefix = self.endpoint().prefix();
        let (nobodys, name) = NOBODYS;
        let keys = Keys::new(prefix, &QueueName::new(namespace.unwrap_or(nobodys), name)?);
        let (key, channel) = (keys.get(Key::Config), channel(prefix));
        let mut call = Script::call(&keys, &[], &[], "0", &args::Lacked);
        for command in rights::of_everything() {
            if OF_THE_CALL.contains(&command.as_str()) {
                continue;
            }
            let about = match command.as_str() {
                "publish" | "subscribe" => channel.as_str(),
                _ => "",
            };
            call.push(&command);
            call.push(about);
        }
        let answer = self
            .link()
            .at(self.link().slot_for(Some(key.as_bytes())))
            .read(&call)
            .await?;
        let commands: BTreeSet<String> =
            crate::value::read(answer).map_err(|fault| Error::Corrupt {
                what: "the answer about rights".to_owned(),
                reason: fault.to_string(),
            })?;
        Ok(Lacking {
            produces: commands.is_disjoint(&rights::of_producers()),
            commands,
        })
    }
}
