"""Datasets, image reading, transforms, samplers, downloads, the LightningDataModule."""
