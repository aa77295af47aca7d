"""What an operator may set on trainings."""

from framemesh.settings import LakeSettings


class TrainerSettings(LakeSettings):
    """Where trainings find datasets, and put what they make."""

    s3_datasets_bucket: str = "datasets"
    """The bucket of exported datasets."""
    s3_training_bucket: str = "training"
    """The bucket of checkpoints, metrics and trained weights; made if it isn't there."""
    s3_models_bucket: str = "models"
    """The bucket of prepared models; made if it isn't there."""
