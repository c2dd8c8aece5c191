//! What runs hold of networks.

use super::*;

/// What could not be taken away of a run is still known when its container is gone, or cannot be read.
#[tokio::test]
async fn a_lease_outlives_its_container_until_it_is_released() {
    let fixture = Fixture::new();
    let (ledger, _) = fixture.open();
    let lease = Attachment {
        changing: Some(NetworkId::from_bytes([7; 32])),
        ..Attachment::default()
    };
    for n in [1, 2] {
        ledger.insert_container(row(n), vec![]).await.unwrap();
        ledger.put_attachment(&id(n), &lease).await.unwrap();
    }
    let read = fixture.contents();
    assert_eq!(read.leases, []);
    assert_eq!(read.containers[0].attachment.as_ref(), Some(&lease));
    ledger.delete_container(&id(1), vec![]).await.unwrap();
    let read = fixture.contents();
    assert_eq!(read.leases, [(id(1), lease)]);
    assert_eq!(read.damaged, []);
    ledger.delete_attachment(&id(1)).await.unwrap();
    assert_eq!(fixture.contents().leases, []);
}
