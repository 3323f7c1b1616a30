"""Saturating and dying units, vanishing and exploding gradients: seen while a network learns."""

from activations_ext.monitor.activation_monitor import ActivationMonitor
from activations_ext.monitor.report import LayerReport, Report, Units

__all__ = ["ActivationMonitor", "LayerReport", "Report", "Units"]
