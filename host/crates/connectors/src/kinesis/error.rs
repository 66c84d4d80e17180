//! What Kinesis's errors mean here: wait and ask again, or stop until somebody mends it, and what to mend.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_kinesis::config::http::HttpResponse;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use model::error::Failure;

use crate::contact::Contact;

/// What kind of error it is: what the caller does next depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Too much or too often for a shard, the stream or a key: slower.
    Throttled,
    /// A shard iterator or a page is older than five minutes: begin anew from the position.
    IteratorExpired,
    /// No credentials, expired ones, or ones that nobody knows: look for others.
    Credentials,
    /// The stream or shard does not exist.
    NotFound,
    /// These credentials may not do that.
    AccessDenied,
    /// The stream is being made or changed.
    InUse,
    /// A limit of the account or of requests of this kind.
    Limit,
    /// The request is wrong as such.
    Invalid,
    /// The service has a defect of its own or is overloaded.
    Service,
    /// Nobody answered, or not in time: what was asked may have been done.
    Away,
    /// Anything else.
    Other,
}

/// An error of Kinesis: its class, its code and what was said. The text is a fragment, without what was being done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Trouble {
    /// What kind of error it is.
    pub class: Class,
    /// The service's name for it, such as `ResourceNotFoundException`, or ours where nobody answered: a label of metrics.
    pub code: String,
    /// What was said.
    pub text: String,
}

impl Trouble {
    /// What an error of the SDK means.
    pub fn of<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let chain = chain(error);
        match error {
            SdkError::ServiceError(context) => {
                let status = context.raw().status().as_u16();
                match context.err().code() {
                    Some(code) => Self::coded(code, context.err().message().unwrap_or_default(), status),
                    None => Self::of_status(status, context.err().message().unwrap_or(&chain)),
                }
            }
            SdkError::ResponseError(context) => Self::of_status(context.raw().status().as_u16(), &chain),
            SdkError::TimeoutError(_) => Self::new(Class::Away, "Timeout", "no answer came in time"),
            _ if is_of_credentials(error) => Self::new(Class::Credentials, "NoCredentials", &chain),
            SdkError::DispatchFailure(failure) if failure.is_timeout() => {
                Self::new(Class::Away, "Timeout", &chain)
            }
            SdkError::DispatchFailure(_) => Self::new(Class::Away, "NoContact", &chain),
            _ => Self::new(Class::Other, "NotSent", &chain),
        }
    }

    /// What an error code means, for entries that failed within a request that did not. `message`: what the service said
    /// with it.
    pub fn coded(code: &str, message: &str, status: u16) -> Self {
        // Some servers send the name with its namespace.
        let code = code.rsplit('#').next().unwrap_or(code);
        let class = class(code, status);
        let text = if message.is_empty() { code.to_owned() } else { format!("{code}: {message}") };
        Self { class, code: code.to_owned(), text }
    }

    fn of_status(status: u16, message: &str) -> Self {
        let (class, code) = match status {
            413 => (Class::Invalid, "RequestEntityTooLarge"),
            429 => (Class::Throttled, "TooManyRequests"),
            401 | 403 => (Class::AccessDenied, "Forbidden"),
            500.. => (Class::Service, "ServerError"),
            // An answer that could not be understood, such as one that was cut.
            _ => (Class::Away, "BadAnswer"),
        };
        Self::new(class, code, &format!("HTTP status {status}: {message}"))
    }

    fn new(class: Class, code: &str, text: &str) -> Self {
        Self { class, code: code.to_owned(), text: text.to_owned() }
    }

    /// Whether only an operator can mend it.
    pub fn is_final(&self) -> bool {
        matches!(self.class, Class::NotFound | Class::AccessDenied | Class::Invalid)
    }

    /// The failure of what was being done: `doing` reads after "failed to" and names the stream.
    pub fn failure(&self, connection: &str, doing: &str) -> Failure {
        let what = match self.class {
            Class::Throttled => "Kinesis takes no more just now",
            Class::IteratorExpired => "the place to read from is older than five minutes",
            Class::Credentials => "there are no valid credentials",
            Class::NotFound => "the stream does not exist",
            Class::AccessDenied => "these credentials may not do that",
            Class::InUse => "the stream is being made or changed",
            Class::Limit => "a limit of the account is reached",
            Class::Invalid => "Kinesis refuses the request",
            Class::Service => "Kinesis answers with an error of its own",
            Class::Away => "Kinesis does not answer",
            Class::Other => "something unexpected happened",
        };
        let mend = match self.class {
            Class::Credentials => {
                "; see that the environment, the `profile` or the machine's role has some for this connection, and that \
                 the machine's clock is right"
            }
            Class::NotFound => {
                "; create it, or correct its name, or the `region` or `endpoint_url` of the connection"
            }
            Class::AccessDenied => {
                "; allow it in the policy of the user or role: `kinesis:DescribeStreamSummary` and `kinesis:ListShards`, \
                 for sources `kinesis:GetShardIterator` and `kinesis:GetRecords`, for outputs `kinesis:PutRecords`, and the \
                 use of the KMS key if the stream is encrypted with one of your own"
            }
            Class::Throttled => "; if it stays so, give the stream more shards",
            _ => "",
        };
        let message = format!("{doing} through connection `{connection}`: {what} ({}){mend}", self.text);
        if self.is_final() { Failure::stop(message) } else { Failure::retry(message) }
    }

    /// Tells what is known of the connection now: somebody answered, or nobody did.
    pub fn tell(&self, contact: &Contact) {
        match self.class {
            Class::Away | Class::Service | Class::Credentials => contact.away(&self.text),
            _ => contact.back(),
        }
    }
}

fn class(code: &str, status: u16) -> Class {
    match code {
        "ProvisionedThroughputExceededException"
        | "KMSThrottlingException"
        | "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestThrottled"
        | "RequestLimitExceeded"
        | "SlowDown" => Class::Throttled,
        "ExpiredIteratorException" | "ExpiredNextTokenException" => Class::IteratorExpired,
        "ExpiredToken"
        | "ExpiredTokenException"
        | "RequestExpired"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException" => Class::Credentials,
        "ResourceNotFoundException" | "KMSNotFoundException" => Class::NotFound,
        "AccessDenied" | "AccessDeniedException" | "KMSAccessDeniedException" | "KMSOptInRequired" => {
            Class::AccessDenied
        }
        "OptInRequired" | "NotAuthorized" | "KMSDisabledException" => Class::AccessDenied,
        "ResourceInUseException" | "KMSInvalidStateException" => Class::InUse,
        "LimitExceededException" => Class::Limit,
        "InvalidArgumentException"
        | "ValidationException"
        | "SerializationException"
        | "InvalidAction"
        | "UnknownOperationException" => Class::Invalid,
        "InternalFailure"
        | "InternalFailureException"
        | "InternalServerError"
        | "ServiceUnavailable"
        | "ServiceUnavailableException" => Class::Service,
        _ if status >= 500 => Class::Service,
        _ => Class::Other,
    }
}

/// What each error in the chain says, without those that only repeat the next one.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let further = error.to_string();
        if !text.contains(&further) {
            text.push_str(": ");
            text.push_str(&further);
        }
        next = error.source();
    }
    text
}

fn is_of_credentials(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<CredentialsError>() {
            return true;
        }
        next = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use model::error::Disposition;

    use super::*;

    #[track_caller]
    fn check(code: &str, status: u16, class: Class, disposition: Disposition) {
        let trouble = Trouble::coded(code, "so it is", status);
        assert_eq!(trouble.class, class);
        let failure = trouble.failure("aws", "emit records of view `v` to stream `s`");
        assert_eq!(failure.disposition, disposition, "{failure}");
        assert!(failure.message.contains("so it is"), "{failure}");
    }

    #[test]
    fn each_code_has_its_class() {
        use Disposition::{Retry, Stop};
        check("ProvisionedThroughputExceededException", 400, Class::Throttled, Retry);
        check("com.amazonaws.kinesis.v20131202#ExpiredIteratorException", 400, Class::IteratorExpired, Retry);
        check("ExpiredTokenException", 400, Class::Credentials, Retry);
        check("ResourceNotFoundException", 400, Class::NotFound, Stop);
        check("AccessDeniedException", 400, Class::AccessDenied, Stop);
        check("ResourceInUseException", 400, Class::InUse, Retry);
        check("LimitExceededException", 400, Class::Limit, Retry);
        check("ValidationException", 400, Class::Invalid, Stop);
        check("InternalFailure", 500, Class::Service, Retry);
        check("SomethingNew", 503, Class::Service, Retry);
        check("SomethingNew", 400, Class::Other, Retry);
    }

    #[test]
    fn a_bare_status_has_its_class() {
        assert_eq!(Trouble::of_status(413, "").class, Class::Invalid);
        assert_eq!(Trouble::of_status(200, "cut").class, Class::Away);
        assert_eq!(Trouble::of_status(502, "").class, Class::Service);
    }
}
