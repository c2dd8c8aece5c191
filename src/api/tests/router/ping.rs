//! `/_ping`, the first request of every client.

use super::send;

#[tokio::test]
async fn get_answers_ok_with_the_headers_that_clients_negotiate_by() {
    for path in ["/_ping", "/v1.24/_ping"] {
        let ping = send("GET", path).await;
        assert_eq!((ping.status.as_u16(), ping.body.as_str()), (200, "OK"));
        for (name, value) in [
            ("api-version", "1.47"),
            ("builder-version", "1"),
            ("cache-control", "no-cache, no-store, must-revalidate"),
            ("content-length", "2"),
            ("content-type", "text/plain; charset=utf-8"),
            ("docker-experimental", "false"),
            ("ostype", "linux"),
            ("pragma", "no-cache"),
            ("swarm", "inactive"),
        ] {
            assert_eq!(ping.header(name), Some(value), "{name}");
        }
        let server = ping.header("server").unwrap();
        assert!(server.starts_with("Moored/") && server.ends_with(" (linux)"));
    }
}

#[tokio::test]
async fn head_has_the_same_headers_and_a_length_of_zero() {
    let get = send("GET", "/_ping").await;
    let head = send("HEAD", "/_ping").await;
    assert_eq!((head.status.as_u16(), head.body.as_str()), (200, ""));
    assert_eq!(head.header("content-length"), Some("0"));
    let mut expected = get.headers;
    expected.insert("content-length", "0".parse().unwrap());
    assert_eq!(head.headers, expected);
}
