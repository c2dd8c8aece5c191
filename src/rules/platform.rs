//! Whether an image is of the platform a container is asked for.

use model::{Error, ImageConfig, Platform, Result};

/// Holds an image against the platform asked for, or else against the `host`'s; the answer is a
/// warning.
///
/// # Errors
/// 404 in Docker's words when it is not of the one asked for: clients pull the right one then.
pub fn check(
    name: &str,
    image: &ImageConfig,
    wanted: Option<&Platform>,
    host: &Platform,
) -> Result<Option<String>> {
    let platform = Platform {
        os: image.os.clone(),
        architecture: image.architecture.clone(),
        variant: image.variant.clone(),
    };
    let Some(wanted) = wanted else {
        return Ok((!host.takes(&platform)).then(|| {
            format!(
                "The requested image's platform ({platform}) does not match the detected host \
                 platform ({host}) and no specific platform was requested"
            )
        }));
    };
    if wanted.takes(&platform) {
        return Ok(None);
    }
    Err(Error::not_found(format!(
        "image with reference {name} was found but its platform ({platform}) does not match the \
         specified platform ({wanted})"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(architecture: &str, variant: &str) -> ImageConfig {
        ImageConfig {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.to_owned(),
            ..ImageConfig::default()
        }
    }

    #[test]
    fn an_image_of_another_platform_is_not_found_or_warned_of() {
        let wanted = Platform::parse("linux/amd64").unwrap();
        let host = Platform::parse("linux/amd64").unwrap();
        let e = check("busybox", &image("arm64", "v8"), Some(&wanted), &host).unwrap_err();
        assert_eq!(
            e.message(),
            "image with reference busybox was found but its platform (linux/arm64/v8) does not \
             match the specified platform (linux/amd64)"
        );
        let said = |image: ImageConfig, wanted| check("busybox", &image, wanted, &host).unwrap();
        assert_eq!(said(image("amd64", ""), Some(&wanted)), None);
        assert_eq!(said(image("amd64", ""), None), None);
        let warning = said(image("sparc64", ""), None).unwrap();
        assert!(warning.starts_with("The requested image's platform (linux/sparc64) does not"));
        assert!(warning.contains(&format!("host platform ({host})")));
    }
}
