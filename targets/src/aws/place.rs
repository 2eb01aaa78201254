//! Partitions, and where a region's services are.

/// A part of AWS with its own accounts, names and domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Partition {
    /// As names of resources begin with it: `arn:aws-cn:`.
    pub(crate) name: &'static str,
    domain: &'static str,
}

impl Partition {
    /// The partition of a region.
    pub(crate) fn of(region: &str) -> Self {
        match region.split('-').next() {
            Some("cn") => Self { name: "aws-cn", domain: "amazonaws.com.cn" },
            Some("us") if region.starts_with("us-gov-") => Self { name: "aws-us-gov", domain: "amazonaws.com" },
            _ => Self { name: "aws", domain: "amazonaws.com" },
        }
    }

    /// Whether the resource of this name is of this partition.
    pub(crate) fn holds(self, arn: &str) -> bool {
        arn.strip_prefix("arn:").and_then(|rest| rest.split(':').next()) == Some(self.name)
    }
}

/// A service that we call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Service {
    Sts,
    SageMaker,
    SageMakerRuntime,
    Ecr,
}

/// What stands before the region in the addresses of the services that we call, as AWS has them.
const HOSTS: [&str; 9] = [
    "sts",
    "sts-fips",
    "api.sagemaker",
    "api-fips.sagemaker",
    "runtime.sagemaker",
    "runtime-fips.sagemaker",
    "api.ecr",
    "ecr-fips",
    "ecr",
];

/// Where the identity of a machine may go: the services that we call, in this region, also as interface endpoints of a VPC. Not the whole domain, under which anybody
/// can have an address.
pub(crate) fn own_domains(region: &str) -> Vec<String> {
    let domain = Partition::of(region).domain;
    let both = |host: &&str| [format!("{host}.{region}.{domain}"), format!("{host}.{region}.vpce.{domain}")];
    HOSTS.iter().flat_map(both).chain([format!("sts.{domain}")]).collect()
}

impl Service {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Sts, Self::SageMaker, Self::SageMakerRuntime, Self::Ecr];

    /// What people call it.
    pub(crate) fn who(self) -> &'static str {
        match self {
            Self::Sts => "AWS STS",
            Self::SageMaker => "Amazon SageMaker",
            Self::SageMakerRuntime => "SageMaker's runtime",
            Self::Ecr => "Amazon ECR",
        }
    }

    /// The name in a signature's scope.
    pub(crate) fn signing_name(self) -> &'static str {
        match self {
            Self::Sts => "sts",
            Self::SageMaker | Self::SageMakerRuntime => "sagemaker",
            Self::Ecr => "ecr",
        }
    }

    /// What stands before an operation in `X-Amz-Target`.
    pub(crate) fn target(self) -> &'static str {
        match self {
            Self::SageMaker => "SageMaker",
            Self::Ecr => "AmazonEC2ContainerRegistry_V20150921",
            Self::Sts | Self::SageMakerRuntime => "",
        }
    }

    /// Where it is in a region.
    pub(crate) fn url(self, region: &str) -> String {
        let domain = Partition::of(region).domain;
        let host = match self {
            Self::Sts => "sts",
            Self::SageMaker => "api.sagemaker",
            Self::SageMakerRuntime => "runtime.sagemaker",
            Self::Ecr => "api.ecr",
        };
        format!("https://{host}.{region}.{domain}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_have_their_domains() {
        for (region, partition, url) in [
            ("eu-west-1", "aws", "https://api.sagemaker.eu-west-1.amazonaws.com"),
            ("us-east-1", "aws", "https://api.sagemaker.us-east-1.amazonaws.com"),
            ("us-gov-west-1", "aws-us-gov", "https://api.sagemaker.us-gov-west-1.amazonaws.com"),
            ("cn-north-1", "aws-cn", "https://api.sagemaker.cn-north-1.amazonaws.com.cn"),
        ] {
            assert_eq!((Partition::of(region).name, Service::SageMaker.url(region).as_str()), (partition, url));
        }
        assert!(Partition::of("cn-north-1").holds("arn:aws-cn:iam::123456789012:role/r"));
        assert!(!Partition::of("eu-west-1").holds("arn:aws-cn:iam::123456789012:role/r"));
        assert!(!Partition::of("eu-west-1").holds("aws"));
    }
}
