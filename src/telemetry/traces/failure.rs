//! Why a call failed, and whether it is worth another try: <https://opentelemetry.io/docs/specs/otlp/#failures>.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::StatusCode;
use percent_encoding::percent_decode_str;
use prost::Message;

/// So much of the receiver's own words goes into the log.
const LONGEST_CAUSE: usize = 200;

/// The longest delay that a receiver may ask for.
const LONGEST_DELAY: Duration = Duration::from_secs(60);

/// Binary metadata of gRPC comes with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a call failed.
#[derive(Debug)]
pub(super) struct Failure {
    /// For the log.
    pub(super) cause: String,
    /// Whether another try may go better.
    pub(super) passes: bool,
    /// Whether the receiver did not believe who called.
    pub(super) unauthenticated: bool,
    /// How long the receiver wants to be left alone.
    pub(super) delay: Option<Duration>,
}

impl Failure {
    /// The receiver was not reached, or did not answer.
    pub(super) fn lost(cause: impl fmt::Display) -> Self {
        Self {
            cause: cause.to_string(),
            passes: true,
            unauthenticated: false,
            delay: None,
        }
    }

    /// An answer that is no gRPC, of a proxy in most cases. What its status stands for is said in
    /// <https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md>.
    pub(super) fn of_http(status: StatusCode) -> Self {
        Self {
            passes: matches!(status.as_u16(), 429 | 502..=504),
            unauthenticated: status == StatusCode::UNAUTHORIZED,
            ..Self::lost(format!("HTTP status {}", status.as_u16()))
        }
    }

    /// The receiver's own verdict: <https://grpc.io/docs/guides/status-codes/>. `message` and `details` are the trailers
    /// `grpc-message` and `grpc-status-details-bin`.
    pub(super) fn of_status(status: u16, message: &str, details: &str) -> Self {
        let words = percent_decode_str(message).decode_utf8_lossy();
        let words: String = words
            .chars()
            .filter(|char| !char.is_control())
            .take(LONGEST_CAUSE)
            .collect();
        let delay = delay(details);
        Self {
            cause: format!("status {status} {words}").trim_end().to_owned(),
            passes: match status {
                // CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS
                1 | 4 | 10 | 11 | 14 | 15 => true,
                // RESOURCE_EXHAUSTED passes only if the receiver says when.
                8 => delay.is_some(),
                _ => false,
            },
            unauthenticated: status == 16,
            delay,
        }
    }
}

/// google.rpc.Status, as far as it is read.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// google.protobuf.Any
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// google.rpc.RetryInfo
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<ProtoDuration>,
}

/// google.protobuf.Duration
#[derive(Clone, PartialEq, Message)]
struct ProtoDuration {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// The delay of the `RetryInfo` among the details of a status.
fn delay(details: &str) -> Option<Duration> {
    let bytes = BASE64.decode(details).ok()?;
    let status = RpcStatus::decode(bytes.as_slice()).ok()?;
    let info = status
        .details
        .iter()
        .find(|detail| detail.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(info.value.as_slice()).ok()?.retry_delay?;
    let seconds = u64::try_from(delay.seconds).unwrap_or_default();
    let delay =
        Duration::from_secs(seconds) + Duration::from_nanos(u64::try_from(delay.nanos).unwrap_or_default());
    Some(delay.min(LONGEST_DELAY))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use base64::Engine;
    use http::StatusCode;
    use prost::Message;

    use super::{Any, BASE64, Failure, ProtoDuration, RetryInfo, RpcStatus};

    fn details(seconds: i64, nanos: i32) -> String {
        let info = RetryInfo {
            retry_delay: Some(ProtoDuration { seconds, nanos }),
        };
        let status = RpcStatus {
            details: vec![Any {
                type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
                value: info.encode_to_vec(),
            }],
        };
        BASE64.encode(status.encode_to_vec())
    }

    #[test]
    fn an_exhausted_receiver_is_asked_again_only_when_it_says_when() {
        let with = Failure::of_status(8, "", &details(2, 500_000_000));
        let unpadded = Failure::of_status(8, "", details(2, 0).trim_end_matches('='));
        let without = Failure::of_status(8, "", "");
        let long = Failure::of_status(14, "", &details(86_400, 0));

        assert_eq!(
            (with.passes, with.delay),
            (true, Some(Duration::from_millis(2500)))
        );
        assert_eq!(unpadded.delay, Some(Duration::from_secs(2)));
        assert_eq!((without.passes, without.delay), (false, None));
        assert_eq!((long.passes, long.delay), (true, Some(Duration::from_secs(60))));
        assert_eq!(Failure::of_status(14, "", "no base64!").delay, None);
    }

    #[test]
    fn a_refusal_for_good_is_not_tried_again() {
        for status in [2, 3, 5, 6, 7, 9, 12, 13, 16] {
            assert!(!Failure::of_status(status, "", "").passes, "{status}");
        }
        for (status, passes) in [
            (400, false),
            (401, false),
            (403, false),
            (404, false),
            (429, true),
            (500, false),
            (503, true),
        ] {
            let failure = Failure::of_http(StatusCode::from_u16(status).unwrap());
            assert_eq!(
                (failure.passes, failure.unauthenticated),
                (passes, status == 401),
                "{status}"
            );
        }
    }

    #[test]
    fn the_receivers_words_are_decoded_and_stay_on_one_line() {
        let failure = Failure::of_status(3, "caf%C3%A9%0A100%25", "");

        assert_eq!(failure.cause, "status 3 caf\u{e9}100%");
    }
}
