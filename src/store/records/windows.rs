//! The sequence windows of a device's session: opaque bytes of the session room, one record a device.

use super::{Batch, Space, Store, StoreError, of_device};
use crate::domain::{DeviceId, SessionId};

/// Writes the windows of a session; `windows` is `session::window::Windows::encode`.
pub fn put(batch: &mut Batch, device: &DeviceId, session: &SessionId, windows: &[u8]) {
    let mut payload = Vec::with_capacity(session.as_str().len() + 1 + windows.len());
    payload.extend_from_slice(session.as_str().as_bytes());
    payload.push(0);
    payload.extend_from_slice(windows);
    batch.put(of_device(Space::Window, device), payload);
}

/// Reads the windows of a session; those of a former session are none.
pub async fn get(store: &dyn Store, device: &DeviceId, session: &SessionId) -> Result<Option<Vec<u8>>, StoreError> {
    let key = of_device(Space::Window, device);
    let Some(payload) = store.get(key.clone()).await? else { return Ok(None) };
    let Some(end) = payload.iter().position(|b| *b == 0) else {
        return Err(StoreError::Damaged(format!("record {key:?}: no session")));
    };
    let same = &payload[..end] == session.as_str().as_bytes();
    Ok(same.then(|| payload[end + 1..].to_vec()))
}
