//! HTTP: admission by host and path, refusals, requests after the first, and hostile heads.

use gqos::proxy::ConnectionEnd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::world::{World, head, rest, soon};

/// `/hd/` in one class and `/sd/` in another; anything else is best effort.
const RULES: &str = r#"
protocol = "http"
template = "free"
retry_after = "1500 ms"
[[proxy.p.rule]]
match = { host = "*.example", path = "/ladder/*" }
template = ["hd", "sd"]
[[proxy.p.rule]]
match = { path = "/hd/*" }
class = "viewer"
template = "hd"
[[proxy.p.rule]]
match = { path = "/sd/*" }
class = "viewer"
template = "sd"
[[proxy.p.rule]]
match = { path = "/studio/*" }
class = "studio"
template = "sd"
"#;

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n")
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn a_request_gets_its_rule_and_the_origin_learns_the_rendition() {
    let world = World::new(RULES).await;
    let mut client = world.saying("GET /ladder/1.ts?x=1 HTTP/1.1\r\nHost: a.Example:80\r\nX-Gqos-Rendition: forged\r\nRange: bytes=0-\r\n\r\n").await;
    let mut origin = world.accept().await;
    let seen = head(&mut origin).await;
    assert_eq!(
        seen,
        "GET /ladder/1.ts?x=1 HTTP/1.1\r\nHost: a.Example:80\r\nRange: bytes=0-\r\nX-Gqos-Rendition: hd\r\n\r\n"
    );
    origin.write_all(OK).await.unwrap();
    let mut answer = vec![0; OK.len()];
    soon(client.read_exact(&mut answer)).await.unwrap();
    assert_eq!(answer, OK);
    // The best rendition does not fit a second time.
    let second = world.saying(get("/ladder/1.ts")).await;
    let mut origin_second = world.accept().await;
    assert!(head(&mut origin_second).await.contains("\r\nX-Gqos-Rendition: sd\r\n"));
    drop((client, origin, second, origin_second));
    let records = world.records(2).await;
    assert!(
        records.iter().all(|record| record.requests == 1 && record.path.as_deref() == Some("/ladder/1.ts"))
    );
    world.drain().await;
}

#[tokio::test]
async fn a_refused_request_gets_503_with_the_decision_or_the_page_of_the_operator() {
    let directory = tempfile::tempdir().unwrap();
    let page = directory.path().join("busy.html");
    std::fs::write(&page, "<h1>busy</h1>").unwrap();
    for page in [None, Some(page.to_str().unwrap())] {
        let lines = page.map_or(String::new(), |page| format!("page = {page:?}\n"));
        let world = World::new(&format!("{lines}{RULES}")).await;
        let first = world.saying(get("/hd/1.ts")).await;
        let origin = world.accept().await;
        for method in ["GET", "HEAD"] {
            let mut second = world.saying(get("/hd/1.ts").replace("GET", method)).await;
            let answer = String::from_utf8(rest(&mut second).await.unwrap()).unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\n"), "{head}");
            assert!(head.contains("\r\nConnection: close"), "{head}");
            match (method, page) {
                ("HEAD", _) => assert_eq!(body, ""),
                (_, Some(_)) => assert_eq!(body, "<h1>busy</h1>"),
                (_, None) => {
                    let decision: serde_json::Value = serde_json::from_str(body).unwrap();
                    assert_eq!(decision["error"], "WSAEOPNOTSUPP");
                    assert_eq!(decision["reason"], "interface_budget");
                }
            }
        }
        drop((first, origin));
        world.drain().await;
    }
}

#[tokio::test]
async fn later_requests_keep_renegotiate_and_change_the_reservation() {
    let world = World::new(RULES).await;
    let mut client = world.client().await;
    let mut origin = None;
    for (path, rendition) in [
        ("/sd/1", Some("sd")),
        ("/sd/2", Some("sd")),
        ("/hd/1", Some("hd")),
        ("/other", Some("hd")),
        ("/studio/1", Some("sd")),
        ("/ladder/1", Some("hd")),
    ] {
        let body = "5\r\nhello\r\n0\r\n\r\n";
        let request =
            format!("POST {path} HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        client.write_all(request.as_bytes()).await.unwrap();
        if origin.is_none() {
            origin = Some(world.accept().await);
        }
        let origin = origin.as_mut().unwrap();
        let seen = head(origin).await;
        let header = rendition.map(|rendition| format!("X-Gqos-Rendition: {rendition}\r\n\r\n")).unwrap();
        assert!(
            seen.starts_with(&format!("POST {path} HTTP/1.1\r\n")) && seen.ends_with(&header),
            "{path}: {seen}"
        );
        let mut received = vec![0; body.len()];
        soon(origin.read_exact(&mut received)).await.unwrap();
        assert_eq!(received, body.as_bytes());
        origin.write_all(OK).await.unwrap();
        let mut answer = vec![0; OK.len()];
        soon(client.read_exact(&mut answer)).await.unwrap();
    }
    drop((client, origin));
    assert_eq!(world.records(1).await[0].requests, 6);
    world.drain().await;
}

#[tokio::test]
async fn a_later_request_that_is_refused_is_not_passed_on() {
    let world = World::new(RULES).await;
    let holder = world.saying(get("/hd/1")).await;
    let holder_origin = world.accept().await;
    let mut client = world.saying(get("/sd/1")).await;
    let mut origin = world.accept().await;
    head(&mut origin).await;
    // The answer to the first request is still on its way when the second one is refused.
    client.write_all(get("/hd/2").as_bytes()).await.unwrap();
    // The origin takes its time, and pauses within its answer.
    let (start, end) = OK.split_at(OK.len() - 1);
    for part in [&b"HTTP/1.1 100 Continue\r\n\r\n"[..], start] {
        tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
        origin.write_all(part).await.unwrap();
    }
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    origin.write_all(end).await.unwrap();
    let answer = String::from_utf8(rest(&mut client).await.unwrap()).unwrap();
    let first = format!("HTTP/1.1 100 Continue\r\n\r\n{}", String::from_utf8_lossy(OK));
    let refusal = answer.strip_prefix(&first).expect("the answer to the first request, whole");
    assert!(refusal.starts_with("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\n"), "{refusal}");
    assert_eq!(rest(&mut origin).await.unwrap(), b"", "the request was passed on");
    let record = world.records(1).await.remove(0);
    assert_eq!(
        (record.end, record.reason.as_deref(), record.requests),
        (ConnectionEnd::LaterRequestRefused, Some("interface_budget"), 1)
    );
    drop((holder, holder_origin));
    world.drain().await;
}

/// Where the origin ends the connection with its answer, nothing follows it.
#[tokio::test]
async fn a_refusal_behind_an_answer_without_a_length_is_the_end() {
    let world = World::new(RULES).await;
    let holder = world.saying(get("/hd/1")).await;
    let holder_origin = world.accept().await;
    let mut client = world.saying(format!("{}{}", get("/sd/1"), get("/hd/2"))).await;
    let mut origin = world.accept().await;
    head(&mut origin).await;
    origin.write_all(b"HTTP/1.0 200 OK\r\n\r\nuntil").await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    origin.write_all(b" the end").await.unwrap();
    drop(origin);
    assert_eq!(rest(&mut client).await.unwrap(), b"HTTP/1.0 200 OK\r\n\r\nuntil the end");
    assert_eq!(world.records(1).await[0].end, ConnectionEnd::LaterRequestRefused);
    drop((holder, holder_origin));
    world.drain().await;
}

/// Chunks, a response to HEAD, one without a body and one in many parts end where the client's parser finds their end.
#[tokio::test]
async fn a_refusal_follows_the_last_of_several_answers() {
    let world = World::new(RULES).await;
    let holder = world.saying(get("/hd/1")).await;
    let holder_origin = world.accept().await;
    let before = ["HEAD", "GET", "GET", "GET"].map(|method| get("/sd/1").replace("GET", method)).concat();
    let mut client = world.saying(format!("{before}{}", get("/hd/2"))).await;
    let mut origin = world.accept().await;
    for _ in 0..4 {
        head(&mut origin).await;
    }
    let data = "x".repeat(100_000);
    let answers = [
        "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n".to_owned(),
        format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{data}\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n",
            data.len()
        ),
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n".to_owned(),
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{data}", data.len()),
    ]
    .concat();
    let sends = async {
        for part in answers.as_bytes().chunks(997) {
            origin.write_all(part).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let (answered, ()) = tokio::join!(rest(&mut client), sends);
    let answer = String::from_utf8(answered.unwrap()).unwrap();
    let refusal = answer.strip_prefix(&answers).expect("all answers, whole");
    assert!(refusal.starts_with("HTTP/1.1 503 "), "{refusal}");
    drop((holder, holder_origin));
    world.drain().await;
}

#[tokio::test]
async fn heads_that_can_be_read_in_two_ways_never_reach_the_origin() {
    let world = World::new(RULES).await;
    let smuggled = "GET /hd/1 HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let attacks = [
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 44\r\n\r\n{smuggled}"),
        format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"
        ),
        format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n{smuggled}"),
        format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n{smuggled}"),
        format!("POST / HTTP/1.1\r\nHost: a\r\nX: y\r\n Transfer-Encoding: chunked\r\n\r\n{smuggled}"),
        format!("POST / HTTP/1.1\r\nHost: a\r\nX: y\rTransfer-Encoding: chunked\r\n\r\n{smuggled}"),
        format!("POST / HTTP/1.1\r\nHost: a\r\nX: y\nTransfer-Encoding: chunked\r\n\r\n{smuggled}"),
        format!("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"),
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\n\r\n".to_owned(),
        "CONNECT b:22 HTTP/1.1\r\nHost: b:22\r\n\r\n".to_owned(),
        "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "\u{16}\u{3}\u{1}\u{0}\r\n\r\n".to_owned(),
    ];
    for attack in &attacks {
        let mut client = world.saying(attack).await;
        let answer = rest(&mut client).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 400 "), "{attack:?}: {}", String::from_utf8_lossy(&answer));
    }
    let mut client = world.saying(format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(20_000))).await;
    assert!(rest(&mut client).await.unwrap().starts_with(b"HTTP/1.1 431 "));
    let mut client = world.saying("GET / HTTP/2.0\r\nHost: a\r\n\r\n").await;
    assert!(rest(&mut client).await.unwrap().starts_with(b"HTTP/1.1 505 "));
    let records = world.records(attacks.len() + 2).await;
    assert!(records.iter().all(|record| record.end == ConnectionEnd::BadRequest), "{records:?}");
    // The origin has seen none of them: its next connection is this one.
    let client = world.saying(get("/first")).await;
    let mut origin = world.accept().await;
    assert!(head(&mut origin).await.starts_with("GET /first "));
    drop((client, origin));
    world.drain().await;
}

#[tokio::test]
async fn a_request_behind_another_is_checked_like_the_first() {
    let world = World::new(RULES).await;
    let attacks = [
        "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /b HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
    ];
    for (attack, passed) in attacks.iter().zip([3, 0]) {
        let mut client = world.saying(attack).await;
        let mut origin = world.accept().await;
        head(&mut origin).await;
        let mut body = vec![0; passed];
        soon(origin.read_exact(&mut body)).await.unwrap();
        // The first request is answered, and the attack then.
        let answer: &[u8] = if passed > 0 { OK } else { b"" };
        origin.write_all(answer).await.unwrap();
        let answers = rest(&mut client).await.unwrap();
        let refusal = answers.strip_prefix(answer).unwrap();
        assert!(refusal.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&answers));
        assert_eq!(rest(&mut origin).await.unwrap(), b"", "{attack:?}");
    }
    let records = world.records(2).await;
    assert!(records.iter().all(|record| record.end == ConnectionEnd::BadRequest), "{records:?}");
    world.drain().await;
}

#[tokio::test]
async fn slow_heads_time_out_and_hold_no_reservation() {
    let limits = "limits = { first_byte = \"300 ms\", head_time = \"300 ms\" }";
    let world = World::new(&format!("{limits}\n{RULES}")).await;
    let mut silent = world.client().await;
    let mut slow = world.saying("GET /hd/1 HTTP/1.1\r\nHost: a\r\nX: ").await;
    // A byte now and then does not prolong it.
    let drip = async {
        let (mut read, mut write) = slow.split();
        let mut answer = Vec::new();
        let drops = async {
            while write.write_all(b"y").await.is_ok() {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            () = drops => {}
            _ = read.read_to_end(&mut answer) => {}
        }
        answer
    };
    let answer = soon(drip).await;
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&answer));
    assert!(rest(&mut silent).await.unwrap().starts_with(b"HTTP/1.1 408 "));
    let records = world.records(2).await;
    assert!(
        records.iter().all(|record| record.end == ConnectionEnd::TimedOut && record.flow.is_none()),
        "{records:?}"
    );
    world.drain().await;
}

#[tokio::test]
async fn a_pause_between_requests_is_not_a_slow_head() {
    let limits = "limits = { head_time = \"200 ms\" }";
    let world = World::new(&format!("{limits}\n{RULES}")).await;
    let mut client = world.saying("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n").await;
    let mut origin = world.accept().await;
    head(&mut origin).await;
    for (part, pause) in [("bo", 300), ("dy", 300), ("", 0)] {
        client.write_all(part.as_bytes()).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
    }
    client.write_all(get("/b").as_bytes()).await.unwrap();
    let mut body = [0; 4];
    soon(origin.read_exact(&mut body)).await.unwrap();
    assert_eq!(&body, b"body");
    assert!(head(&mut origin).await.starts_with("GET /b "));
    drop((client, origin));
    assert_eq!(world.records(1).await[0].end, ConnectionEnd::Closed);
    world.drain().await;
}

#[tokio::test]
async fn an_origin_that_is_gone_is_502_and_an_accepted_upgrade_is_passed_on_unread() {
    let closed = {
        let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        other.local_addr().unwrap().to_string()
    };
    let origin = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let world = World::with_origin(RULES, origin, &closed).await;
    let mut client = world.saying(get("/hd/1")).await;
    assert!(rest(&mut client).await.unwrap().starts_with(b"HTTP/1.1 502 "));
    world.drain().await;
    let world = World::new(RULES).await;
    let request = "GET /sd/chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let mut client = world.saying(request).await;
    let mut origin = world.accept().await;
    head(&mut origin).await;
    origin.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").await.unwrap();
    client.write_all(b"\x81\x05hello\n\r").await.unwrap();
    let mut received = [0; 9];
    soon(origin.read_exact(&mut received)).await.unwrap();
    assert_eq!(&received, b"\x81\x05hello\n\r");
    drop((client, origin));
    world.drain().await;
}

#[tokio::test]
async fn a_draining_proxy_closes_connections_between_requests() {
    let world = World::new(RULES).await;
    let mut client = world.saying(get("/sd/1")).await;
    let mut origin = world.accept().await;
    head(&mut origin).await;
    let serve = async {
        origin.write_all(OK).await.unwrap();
        let mut answer = vec![0; OK.len()];
        soon(client.read_exact(&mut answer)).await.unwrap();
        // Neither side closes it, and it ends.
        assert_eq!(rest(&mut client).await.unwrap(), b"");
    };
    let (records, ()) = tokio::join!(world.drain(), serve);
    assert_eq!(records[0].end, ConnectionEnd::Closed, "{records:?}");
}

/// What was asked is answered in full, however long the origin pauses.
#[tokio::test]
async fn a_draining_proxy_waits_for_answers() {
    let world = World::new(RULES).await;
    let mut client = world.saying(get("/sd/1")).await;
    let mut origin = world.accept().await;
    head(&mut origin).await;
    let serve = async {
        for part in OK.chunks(OK.len() / 2 + 1) {
            tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
            origin.write_all(part).await.unwrap();
        }
        assert_eq!(rest(&mut client).await.unwrap(), OK);
    };
    let (records, ()) = tokio::join!(world.drain(), serve);
    assert_eq!(records[0].end, ConnectionEnd::Closed, "{records:?}");
}

/// Once the time is over, a part of an answer is not taken for the whole.
#[tokio::test]
async fn an_answer_that_is_not_whole_when_draining_ends_is_reset() {
    let world = World::new(&format!("limits = {{ drain = \"2 s\" }}\n{RULES}")).await;
    let mut client = world.saying(get("/sd/1")).await;
    let mut origin = world.accept().await;
    head(&mut origin).await;
    origin.write_all(b"HTTP/1.0 200 OK\r\n\r\npart").await.unwrap();
    let reads = async { rest(&mut client).await };
    let (records, read) = tokio::join!(world.drain(), reads);
    assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(records[0].end, ConnectionEnd::Drained, "{records:?}");
}
