//! Which requests a server has certainly not begun to process, so that they may be sent again: RFC 9113, section 8.7, says
//! which refusals of HTTP/2 promise that; and which answers are none of the protocol. Pure.

use std::error::Error;

use h2::Reason;

/// Whether the server has not begun to process the request that ended with this error and without an answer.
pub(super) fn is_unprocessed(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            return refused(error);
        }
        if let Some(error) = error.downcast_ref::<hyper::Error>()
            // The connection ended while the request waited to be written.
            && error.is_canceled()
        {
            return true;
        }
        next = error.source();
    }
    false
}

/// Whether what the server wrote is of another protocol, or of another version of it.
pub(super) fn is_foreign(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            return error.is_library();
        }
        if let Some(error) = error.downcast_ref::<hyper::Error>()
            && error.is_parse()
        {
            return true;
        }
        next = error.source();
    }
    false
}

/// A stream reset before any of the application saw it; or one above the last that a server which closes its connection
/// will process: `h2` gives that error to no other stream.
fn refused(error: &h2::Error) -> bool {
    error.is_remote() && (error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::io;

    use bytes::Bytes;
    use http_body_util::Empty;
    use hyper::client::conn;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::io::DuplexStream;

    use super::*;

    /// The error of a request to a server that does this with it.
    async fn asked<F: Future<Output = Infallible> + Send + 'static>(
        serve: impl FnOnce(DuplexStream) -> F,
    ) -> hyper::Error {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        tokio::spawn(serve(theirs));
        let (mut client, connection) =
            conn::http2::handshake(TokioExecutor::new(), TokioIo::new(ours))
                .await
                .expect("a connection");
        tokio::spawn(connection);
        client
            .send_request(hyper::Request::new(Empty::<Bytes>::new()))
            .await
            .expect_err("no answer comes")
    }

    /// The error of a request whose stream the server resets for this reason.
    async fn reset(reason: Reason) -> hyper::Error {
        asked(async move |theirs| {
            let mut server = h2::server::handshake(theirs).await.expect("a connection");
            while let Some(Ok((_, mut answer))) = server.accept().await {
                answer.send_reset(reason);
            }
            std::future::pending().await
        })
        .await
    }

    #[tokio::test]
    async fn a_stream_that_was_refused_was_not_processed_and_one_that_was_cut_off_may_have_been() {
        assert!(is_unprocessed(&reset(Reason::REFUSED_STREAM).await));
        for reason in [Reason::CANCEL, Reason::INTERNAL_ERROR, Reason::NO_ERROR] {
            assert!(!is_unprocessed(&reset(reason).await), "{reason}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_breaks_with_the_request_on_it_tells_nothing() {
        let error = asked(async |theirs| {
            let mut server = h2::server::handshake(theirs).await.expect("a connection");
            let asked = server.accept().await;
            drop((asked, server));
            std::future::pending().await
        })
        .await;
        assert!(!is_unprocessed(&error), "{error:?}");
        assert!(!is_unprocessed(&io::Error::from(io::ErrorKind::BrokenPipe)));
    }
}
