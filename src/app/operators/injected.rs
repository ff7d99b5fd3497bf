//! What an operator says in a device's place: taken as if the device had sent it, in the words of OpenCane's dialect.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value};

use super::Operators;
use super::records::store_error;
use crate::admin::{AdminError, AdminErrorKind};
use crate::domain::{
    Body, DeviceId, Ingress, LinkId, Origin, Path, Receipt, Refusal, Settled, Stream, Uplink, dialect,
};
use crate::store::records::{Status, devices};
use crate::wire;

/// What an operator says comes over no connection: the device's own stays what it is.
const NO_LINK: LinkId = LinkId(0);
/// How long the session may take to write it down.
const PATIENCE: Duration = Duration::from_secs(15);

/// Takes `event` as a message of `device`; returns when what has to be durable of it is.
pub(super) async fn take(
    operators: &Operators,
    device: DeviceId,
    event: &Map<String, Value>,
) -> Result<(), AdminError> {
    may_be_spoken_for(operators, &device).await?;
    let invalid = |error: String| AdminError::new(AdminErrorKind::Invalid, error);
    let bytes = serde_json::to_vec(event).map_err(|error| invalid(error.to_string()))?;
    let body = wire::decode(dialect::OPENCANE, Stream::Control, &Bytes::from(bytes), &device)
        .map_err(|error| invalid(format!("the event cannot be read: {error}")))?;
    let origin = Origin {
        device,
        link: NO_LINK,
        arrival: operators.arrivals.next(),
        at: operators.clock.mono(),
        dialect: dialect::OPENCANE,
        path: Path::Connection,
    };
    if let Body::Audio(packet) = body {
        operators.router.audio(origin, packet);
        return Ok(());
    }
    let (receipt, settled) = Receipt::new();
    let delivered = async {
        operators.router.deliver(Uplink { origin, body, receipt }).await;
        settled.await
    };
    let busy = || AdminError::new(AdminErrorKind::Internal, "the session is busy: the event may have been taken");
    match tokio::time::timeout(PATIENCE, delivered).await {
        Ok(Ok(settled)) => said(settled),
        Ok(Err(_)) | Err(_) => Err(busy()),
    }
}

/// The device is known, let in, and speaks this dialect or nothing.
async fn may_be_spoken_for(operators: &Operators, device: &DeviceId) -> Result<(), AdminError> {
    let record = devices::get(&*operators.store, device).await.map_err(|error| store_error(&error))?;
    let record = record.ok_or_else(|| AdminError::new(AdminErrorKind::NotFound, "device not found"))?;
    let conflict = |text: String| Err(AdminError::new(AdminErrorKind::Conflict, text));
    if record.standing().status != Status::Activated {
        return conflict(format!("{device} is not activated: activate it first"));
    }
    match operators.delivery.dialect(device) {
        Some(other) if other != dialect::OPENCANE => conflict(format!("{device} is connected and speaks {other}")),
        _ => Ok(()),
    }
}

fn said(settled: Settled) -> Result<(), AdminError> {
    let (kind, text) = match settled {
        Settled::Durable | Settled::Taken => return Ok(()),
        Settled::Refused(Refusal::Malformed) => (AdminErrorKind::Invalid, "the event makes no sense here"),
        Settled::Refused(Refusal::NotAllowed) => (AdminErrorKind::Conflict, "the device may not say that now"),
        Settled::Refused(Refusal::Quota) => {
            (AdminErrorKind::Conflict, "too much of the device is under way: try again")
        }
        Settled::Refused(Refusal::Storage) => (AdminErrorKind::Store, "the store cannot take it now: try again"),
        Settled::Refused(Refusal::Internal) => (AdminErrorKind::Internal, "a fault of the gateway's; see its log"),
    };
    Err(AdminError::new(kind, text))
}
