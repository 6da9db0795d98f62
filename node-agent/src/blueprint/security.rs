//! Who a container runs as and what it may do: the pod's wishes, overridden by the container's.

use skiff_api::k8s_openapi::api::core::v1::{Container, PodSpec};

use crate::runtime::{ImageInfo, Security};

/// Why a container may not run as it is (`CreateContainerConfigError`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecurityError {
    /// The pod forbids root, and nothing says who else.
    #[error("container has runAsNonRoot and image will run as root")]
    ImageIsRoot,
    /// The pod forbids root and asks for it.
    #[error("container's runAsUser breaks non-root policy")]
    UserIsRoot,
    /// The pod forbids root, and the image names a user that cannot be checked.
    #[error(
        "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is \
         non-root"
    )]
    UserIsName {
        /// The image's user.
        user: String,
    },
}

/// The security settings of a container.
///
/// # Errors
/// [`SecurityError`] if it would run as root against the pod's wish.
pub fn security(
    spec: &PodSpec,
    container: &Container,
    image: &ImageInfo,
) -> Result<Security, SecurityError> {
    let pod = spec.security_context.clone().unwrap_or_default();
    let own = container.security_context.clone().unwrap_or_default();
    let run_as_user = own.run_as_user.or(pod.run_as_user);
    if own.run_as_non_root.or(pod.run_as_non_root).unwrap_or(false) {
        check_not_root(run_as_user, &image.user)?;
    }
    let capabilities = own.capabilities.unwrap_or_default();
    let mut groups = pod.supplemental_groups.unwrap_or_default();
    groups.extend(pod.fs_group);
    Ok(Security {
        run_as_user,
        run_as_group: own.run_as_group.or(pod.run_as_group),
        supplemental_groups: groups,
        privileged: own.privileged.unwrap_or(false),
        add_capabilities: names(capabilities.add),
        drop_capabilities: names(capabilities.drop),
        read_only_root: own.read_only_root_filesystem.unwrap_or(false),
        no_new_privileges: own.allow_privilege_escalation == Some(false),
    })
}

fn names(list: Option<Vec<String>>) -> Vec<String> {
    let list = list.unwrap_or_default().into_iter();
    list.map(|name| name.trim_start_matches("CAP_").to_owned())
        .collect()
}

fn check_not_root(run_as_user: Option<i64>, image_user: &str) -> Result<(), SecurityError> {
    match run_as_user {
        Some(0) => return Err(SecurityError::UserIsRoot),
        Some(_) => return Ok(()),
        None => {}
    }
    let user = image_user.split(':').next().unwrap_or("");
    match user.parse::<i64>() {
        Ok(0) => Err(SecurityError::ImageIsRoot),
        Ok(_) => Ok(()),
        Err(_) if user.is_empty() || user == "root" => Err(SecurityError::ImageIsRoot),
        Err(_) => Err(SecurityError::UserIsName {
            user: user.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_refused_where_it_is_forbidden() {
        let name = || SecurityError::UserIsName { user: "app".into() };
        let cases = [
            ("a number in the pod", Some(1000), "", Ok(())),
            (
                "root in the pod",
                Some(0),
                "1000",
                Err(SecurityError::UserIsRoot),
            ),
            ("a number in the image", None, "1000:1000", Ok(())),
            (
                "nobody in the image",
                None,
                "",
                Err(SecurityError::ImageIsRoot),
            ),
            (
                "root in the image",
                None,
                "root",
                Err(SecurityError::ImageIsRoot),
            ),
            (
                "zero in the image",
                None,
                "0:0",
                Err(SecurityError::ImageIsRoot),
            ),
            ("a name in the image", None, "app", Err(name())),
        ];
        for (case, user, image, expected) in cases {
            assert_eq!(check_not_root(user, image), expected, "{case}");
        }
    }
}
