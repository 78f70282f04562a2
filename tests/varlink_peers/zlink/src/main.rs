//! Reserves, lists, follows and releases by another project's varlink library. Its argument is the daemon's control socket;
//! the policy has an interface `lo` and a template `hd`.

use std::error::Error;

use futures_util::{Stream, StreamExt, pin_mut};
use serde::Deserialize;
use zlink::varlink_service::Proxy;
use zlink::{ReplyError, proxy};

#[proxy("org.gqos")]
trait Gqos {
    async fn reserve(
        &mut self,
        interface: &str,
        template: &str,
    ) -> zlink::Result<Result<Reserved, GqosError>>;
    async fn release(&mut self, id: &str) -> zlink::Result<Result<Nothing, GqosError>>;
    async fn refresh(&mut self, id: &str, ttl_us: u64) -> zlink::Result<Result<Reserved, GqosError>>;
    async fn status(&mut self) -> zlink::Result<Result<Status, GqosError>>;
    #[zlink(more)]
    async fn flows(&mut self) -> zlink::Result<impl Stream<Item = zlink::Result<Result<Flows, GqosError>>>>;
    #[zlink(more)]
    async fn events(&mut self)
    -> zlink::Result<impl Stream<Item = zlink::Result<Result<Events, GqosError>>>>;
}

#[derive(Debug, ReplyError)]
#[zlink(interface = "org.gqos")]
enum GqosError {
    UnknownId { id: String },
    NotPermitted { method: String },
}

#[derive(Debug, Deserialize)]
struct Nothing {}

#[derive(Debug, Deserialize)]
struct Reserved {
    decision: Decision,
}

#[derive(Debug, Deserialize)]
struct Decision {
    id: String,
    ok: bool,
    code: u32,
    reason: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Status {
    flows: u64,
}

#[derive(Debug, Deserialize)]
struct Flows {
    flows: Vec<Flow>,
}

#[derive(Debug, Deserialize)]
struct Flow {
    id: String,
    interface: String,
}

#[derive(Debug, Deserialize)]
struct Events {
    events: Vec<Event>,
}

#[derive(Debug, Deserialize)]
struct Event {
    event: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let socket = std::env::args().nth(1).ok_or("the control socket is missing")?;
    let mut connection = zlink::tokio::unix::connect(&socket).await?;
    let mut listening = zlink::tokio::unix::connect(&socket).await?;

    let product = connection.get_info().await?.map(|info| info.product.to_string());
    assert_eq!(product.expect("GetInfo"), "gqos daemon");
    let described = connection.get_interface_description("org.gqos".try_into()?).await?;
    let description = described.expect("GetInterfaceDescription");
    let interface = description.parse()?;
    let methods: Vec<_> = interface.methods().map(|method| method.name().to_string()).collect();
    for method in ["Reserve", "Release", "Flows", "Events", "Status"] {
        assert!(methods.iter().any(|found| found == method), "{method} of {methods:?}");
    }

    let events = listening.events().await?;
    pin_mut!(events);
    // The first reply says that events are followed from here on.
    events.next().await.ok_or("no events")??.expect("Events");

    let Reserved { decision } = connection.reserve("lo", "hd").await?.expect("Reserve");
    assert!(decision.ok && decision.code == 0, "{decision:?}");
    let refused = connection.reserve("lo", "none").await?.expect("Reserve").decision;
    assert_eq!(
        (refused.ok, refused.code, refused.reason.as_deref()),
        (false, 10045, Some("unknown_template"))
    );
    assert_eq!(connection.status().await?.expect("Status").flows, 1);

    let listed = {
        let replies = connection.flows().await?;
        pin_mut!(replies);
        let mut listed = Vec::new();
        while let Some(reply) = replies.next().await {
            listed.extend(reply?.expect("Flows").flows);
        }
        listed
    };
    let [Flow { id, interface }] = &listed[..] else { panic!("{listed:?}") };
    assert_eq!((id, &**interface), (&decision.id, "lo"));

    connection.release(&decision.id).await?.expect("Release");
    match connection.refresh(&decision.id, 1).await? {
        Err(GqosError::UnknownId { id }) => assert_eq!(id, decision.id),
        other => panic!("the flow has ended: {other:?}"),
    }
    assert_eq!(connection.status().await?.expect("Status").flows, 0);

    let mut seen = Vec::new();
    while !seen.contains(&"flow_released".to_owned()) {
        let Events { events } = events.next().await.ok_or("the events ended")??.expect("Events");
        seen.extend(events.into_iter().map(|event| event.event));
    }
    assert_eq!(seen, ["flow_admitted", "flow_refused", "flow_released"]);
    println!("zlink: {} methods, a flow admitted, listed and released", methods.len());
    Ok(())
}
