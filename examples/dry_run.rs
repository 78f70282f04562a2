//! Prints what a policy would admit, without sockets and without the kernel.
//!
//! ```text
//! cargo run --example dry_run -- examples/policies/streaming.toml eth0 viewer 1080p 30
//! ```
//!
//! The manager is a plain value: it takes requests and returns decisions, and the same requests give the same decisions
//! on every machine.

use std::sync::Arc;

use anyhow::{Context, bail};
use flowspec::Moment;
use gqos::admission::{NewFlow, Operation, Request};
use gqos::manager::DryRun;
use gqos::policy::Policy;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, interface, class, template, count] = arguments.as_slice() else {
        bail!("usage: dry_run POLICY INTERFACE CLASS TEMPLATE COUNT");
    };
    let policy = Policy::from_path(path)?;
    let qos = policy.templates.get(template).with_context(|| format!("no template {template:?}"))?.qos;

    let mut manager = DryRun::new(Arc::new(policy));
    for number in 1..=count.parse().context("COUNT is not a number")? {
        let request = Request::new(NewFlow { id: &format!("v{number}"), interface }, qos);
        let request = Request { class: Some(class.clone()), ..request };
        let decision = manager.decide(Operation::Reserve(Box::new(request.into())), Moment::START);
        println!("{}", serde_json::to_string(&decision)?);
    }
    Ok(())
}
