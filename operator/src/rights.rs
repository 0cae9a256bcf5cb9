//! That the operator's roles do not allow what a TaskQueue needs, as the API server says it. Pure.

/// Reason of a condition.
pub(crate) const MISSING: &str = "RightMissing";
/// What is to be done about it, to be said behind the API server's words.
pub(crate) const FIX: &str = "; the operator's rights come with its chart: see its values rbac.create, rbac.secrets and sources.enabled";

/// The API server's words where the caller's roles do not allow a call. A quota and an admission rule refuse with
/// the same code, and name no verb.
pub(crate) fn missing(error: &kube::Error) -> Option<&str> {
    let kube::Error::Api(status) = error else {
        return None;
    };
    let words = status.message.as_str();
    let named = words.contains(" cannot ") && words.contains(" resource \"");
    (status.code == 403 && named).then_some(words)
}
