"""Statements about the arguments that Norse documents, function by function: that each of them can be given by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bitprop.verification.peers._probes import Probe

__all__ = ["argument_probes"]

# path, then the names under "Parameters", "Arguments", "Args" or "Input" of the docstring
_ARGUMENTS = """
functional.adjoint.lif_adjoint.lif_adjoint_step input s input_weights recurrent_weights p dt
functional.adjoint.lif_adjoint.lif_adjoint_step_sparse input s input_weights recurrent_weights p dt
functional.adjoint.lif_adjoint.lif_feed_forward_adjoint_step input s p dt
functional.adjoint.lif_adjoint.lif_feed_forward_adjoint_step_sparse input s p dt
functional.adjoint.lsnn_adjoint.lsnn_adjoint_step input s input_weights recurrent_weights p dt
functional.adjoint.lsnn_adjoint.lsnn_feed_forward_adjoint_step input v i b input_weights recurrent_weights p dt
functional.coba_lif.CobaLIFFeedForwardState v g_e g_i
functional.coba_lif.CobaLIFParameters tau_syn_exc_inv tau_syn_inh_inv c_m_inv g_l e_rev_I e_rev_E v_rest v_reset \
    v_thresh method alpha
functional.coba_lif.CobaLIFState z v g_e g_i
functional.coba_lif.coba_lif_feed_forward_step input_tensor state p dt
functional.coba_lif.coba_lif_step input_spikes s input_weights recurrent_weights p dt
functional.encode.constant_current_lif_encode input_current seq_length p dt
functional.encode.gaussian_rbf tensor sigma
functional.encode.poisson_encode input_values sequence_length f_max dt generator
functional.encode.poisson_encode_step input_values f_max dt
functional.encode.population_encode input_values out_features scale kernel distance_function
functional.encode.signed_poisson_encode input_values sequence_length f_max dt generator
functional.encode.signed_poisson_encode_step input_values f_max dt generator
functional.encode.spike_latency_encode input_spikes
functional.encode.spike_latency_lif_encode input_current sequence_length p dt
functional.iaf.IAFFeedForwardState v
functional.iaf.IAFParameters v_th v_reset method alpha
functional.iaf.IAFState z v
functional.iaf.iaf_feed_forward_step input_spikes state p dt
functional.izhikevich.IzhikevichParameters a b c d sq mn bias v_th tau_inv method alpha
functional.izhikevich.IzhikevichRecurrentState v u
functional.izhikevich.IzhikevichSpikingBehavior p s
functional.izhikevich.IzhikevichState v u
functional.izhikevich.create_izhikevich_spiking_behavior a b c d v_rest u_rest tau_inv current time_print timestep_print
functional.leaky_integrator.LIParameters tau_syn_inv tau_mem_inv v_leak
functional.leaky_integrator.LIState v i
functional.leaky_integrator.li_step input_spikes s input_weights p dt
functional.leaky_integrator_box.LIBoxParameters tau_mem_inv v_leak
functional.leaky_integrator_box.LIBoxState v
functional.leaky_integrator_box.li_box_step input_spikes s input_weights p dt
functional.lif.LIFFeedForwardState v i
functional.lif.LIFParameters tau_syn_inv tau_mem_inv v_leak v_th v_reset method alpha
functional.lif.LIFState z v i
functional.lif.lif_current_encoder input voltage p dt
functional.lif.lif_feed_forward_integral input_tensor s p dt
functional.lif.lif_feed_forward_step input_tensor state p dt
functional.lif.lif_step input_spikes s input_weights recurrent_weights p dt
functional.lif.lif_step_integral input_tensor s input_weights recurrent_weights p dt
functional.lif.lif_step_sparse input_spikes s input_weights recurrent_weights p dt
functional.lif_adex.LIFAdExFeedForwardState v i a
functional.lif_adex.LIFAdExParameters adaptation_current adaptation_spike delta_T tau_syn_inv tau_mem_inv v_leak v_th \
    v_reset method alpha
functional.lif_adex.LIFAdExState z v i a
functional.lif_adex.lif_adex_current_encoder input_current voltage adaptation p dt
functional.lif_adex.lif_adex_feed_forward_step input_spikes state p dt
functional.lif_adex.lif_adex_step input_tensor s input_weights recurrent_weights p dt
functional.lif_adex_refrac.LIFAdExRefracFeedForwardState lif_adex
functional.lif_adex_refrac.LIFAdExRefracState lif_adex rho
functional.lif_adex_refrac.compute_refractory_update state z_new v_new p
functional.lif_adex_refrac.lif_adex_refrac_feed_forward_step input_tensor s p dt
functional.lif_adex_refrac.lif_adex_refrac_step input_tensor s input_weights recurrent_weights p dt
functional.lif_box.LIFBoxFeedForwardState v
functional.lif_box.LIFBoxParameters tau_mem_inv v_leak v_th v_reset method alpha
functional.lif_box.LIFBoxState z v
functional.lif_box.lif_box_feed_forward_step input_tensor state p dt
functional.lif_ex.LIFExFeedForwardState v i
functional.lif_ex.LIFExParameters delta_T tau_syn_inv tau_mem_inv v_leak v_th v_reset method alpha
functional.lif_ex.LIFExState z v i
functional.lif_ex.lif_ex_current_encoder input voltage p dt
functional.lif_ex.lif_ex_feed_forward_step input_spikes state p dt
functional.lif_ex.lif_ex_step input_tensor s input_weights recurrent_weights p dt
functional.lif_mc.lif_mc_feed_forward_step input_tensor s g_coupling p dt
functional.lif_mc.lif_mc_step input_tensor s input_weights recurrent_weights g_coupling p dt
functional.lif_refrac.LIFRefracFeedForwardState lif rho
functional.lif_refrac.LIFRefracParameters lif rho
functional.lif_refrac.LIFRefracState lif rho
functional.lif_refrac.compute_refractory_update state z_new v_new p
functional.lif_refrac.lif_refrac_feed_forward_step input_tensor s p dt
functional.lif_refrac.lif_refrac_step input_tensor s input_weights recurrent_weights p dt
functional.lift.lift activation p
functional.lsnn.LSNNFeedForwardState v i b
functional.lsnn.LSNNParameters tau_syn_inv tau_mem_inv tau_adapt_inv v_leak v_th v_reset beta
functional.lsnn.LSNNState z v i b
functional.lsnn.ada_lif_step input_tensor s input_weights recurrent_weights p dt
functional.lsnn.lsnn_feed_forward_step input_tensor s p dt
functional.lsnn.lsnn_step input_tensor s input_weights recurrent_weights p dt
functional.receptive_field.calculate_normalization dx scale gamma
functional.receptive_field.derive_spatial_receptive_field field scale angle derivatives
functional.receptive_field.derive_spatial_receptive_field_single field scale angle dx dy
functional.receptive_field.gaussian_kernel size c domain
functional.receptive_field.spatial_receptive_field scale angle ratio size dx dy domain
functional.receptive_field.temporal_scale_distribution n_scales min_scale max_scale c
functional.regularization.regularize_step z s accumulator state
functional.regularization.spike_accumulator z state
functional.regularization.voltage_accumulator z s state
functional.stdp.STDPParameters a_pre a_post tau_pre_inv tau_post_inv w_min w_max eta_plus eta_minus stdp_algorithm mu \
    hardbound convolutional stride padding dilation
functional.stdp.STDPState t_pre t_post
functional.stdp.stdp_step_conv2d z_pre z_post w state_stdp p_stdp dt
functional.stdp.stdp_step_linear z_pre z_post w state_stdp p_stdp dt
functional.stdp_sensor.STDPSensorParameters eta_p eta_m tau_ac_inv tau_c_inv
functional.stdp_sensor.STDPSensorState a_pre a_post
functional.stdp_sensor.stdp_sensor_step z_pre z_post s p dt
functional.tsodyks_makram.TsodyksMakramParameters tau_f_inv tau_s_inv tau_d_inv U
functional.tsodyks_makram.TsodyksMakramState u x
functional.tsodyks_makram.stp_step z s p dt
module.coba_lif.CobaLIFCell input_size hidden_size p dt
module.conv.LConv2d in_channels out_channels kernel_size stride padding dilation groups
module.encode.ConstantCurrentLIFEncoder seq_length p dt
module.encode.PoissonEncoder sequence_length f_max dt
module.encode.PoissonEncoderStep f_max dt
module.encode.PopulationEncoder out_features scale kernel distance_function
module.encode.SignedPoissonEncoder sequence_length f_max dt
module.encode.SignedPoissonEncoderStep f_max dt
module.encode.SpikeLatencyLIFEncoder sequence_length p dt
module.iaf.IAF p dt
module.iaf.IAFCell p dt
module.izhikevich.Izhikevich dt
module.izhikevich.IzhikevichCell spiking_method
module.izhikevich.IzhikevichRecurrent dt
module.izhikevich.IzhikevichRecurrentCell input_size hidden_size input_weights recurrent_weights autapses dt
module.leaky_integrator.LI p dt
module.leaky_integrator.LICell p dt
module.leaky_integrator.LILinearCell input_size hidden_size p dt
module.leaky_integrator_box.LIBoxCell p dt
module.lif.LIF p dt
module.lif.LIFCell p dt
module.lif.LIFRecurrent input_size hidden_size p input_weights recurrent_weights autapses dt
module.lif.LIFRecurrentCell input_size hidden_size p input_weights recurrent_weights autapses dt
module.lif_adex.LIFAdEx p dt
module.lif_adex.LIFAdExCell p dt
module.lif_adex.LIFAdExRecurrent input_size hidden_size p input_weights recurrent_weights autapses dt
module.lif_adex.LIFAdExRecurrentCell input_size hidden_size p input_weights recurrent_weights autapses dt
module.lif_adex_refrac.LIFAdExRefracCell p dt
module.lif_adex_refrac.LIFAdExRefracRecurrent input_size hidden_size p input_weights recurrent_weights autapses dt
module.lif_adex_refrac.LIFAdExRefracRecurrentCell p dt
module.lif_ex.LIFEx p dt
module.lif_ex.LIFExCell input_size hidden_size p dt autapses
module.lif_ex.LIFExRecurrent input_size hidden_size p input_weights recurrent_weights autapses dt
module.lif_ex.LIFExRecurrentCell input_size hidden_size p dt a
module.lif_mc.LIFMCRecurrentCell input_size hidden_size g_coupling p dt autapses
module.lif_refrac.LIFRefracCell p dt
module.lif_refrac.LIFRefracRecurrent input_size hidden_size p input_weights recurrent_weights autapses dt
module.lif_refrac.LIFRefracRecurrentCell input_size hidden_size p dt autapses
module.lift.Lift module
module.lsnn.LSNN p dt
module.lsnn.LSNNCell p dt
module.lsnn.LSNNRecurrent input_size hidden_size p dt
module.lsnn.LSNNRecurrentCell input_size hidden_size p dt
module.receptive_field.SpatialReceptiveField2d in_channels size rf_parameters aggregate domain optimize_fields
module.receptive_field.TemporalReceptiveField shape n_scales activation activation_state_map min_scale max_scale c \
    time_constants dt
module.regularization.RegularizationCell accumulator state
module.snn.SNN activation state_fallback p dt activation_sparse record_states
module.snn.SNNCell activation state_fallback p dt activation_sparse
module.snn.SNNRecurrent activation state_fallback input_size hidden_size p input_weights recurrent_weights autapses dt \
    activation_sparse record_states
module.snn.SNNRecurrentCell activation state_fallback input_size hidden_size p input_weights recurrent_weights \
    autapses dt activation_sparse
module.spikes_to_times_decoder.SpikesToTimesDecoder spike_count convert_indices_to_times dt
"""
_RENAMED = {
    "s": ("arguments.state", "the argument is state"),
    "sequence_length": ("arguments.sequence_length", "the argument is seq_length"),
}


def arguments_taken(nt: Any, module: str, name: str, documented: tuple[str, ...]) -> tuple[float, float]:
    """How many of the documented arguments a function, a class or the classes that it hands them to can be given."""
    function, names = getattr(__import__(f"{nt.__name__}.{module}", fromlist=[name]), name), set()
    if isinstance(function, type) and issubclass(function, tuple):
        names.update(function._fields)  # type: ignore[attr-defined]
    else:
        classes = (
            [vars(c)["__init__"] for c in function.__mro__ if "__init__" in vars(c)]
            if isinstance(function, type)
            else [function]
        )
        for code in (call.__code__ for call in classes if hasattr(call, "__code__")):
            names.update(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])
            if not code.co_flags & 8:  # no further keywords, handed on to the class below
                break
    return float(len(documented)), float(len(names.intersection(documented)))


def argument_probes() -> Iterator[Probe]:
    """One for each function or class; names of which many are wrong in the same way are findings of their own."""
    for line in _ARGUMENTS.split("\n"):
        path, *documented = line.split() or [""]
        module, _, name = path.rpartition(".")
        exported = module.startswith("module.") and module != "module.snn" and not name.endswith("EncoderStep")
        subject = name if exported else path
        groups: dict[tuple[str, str], list[str]] = {}
        for argument in documented:
            group = _RENAMED.get(argument, ("arguments.names", "not every one of them is an argument"))
            groups.setdefault(group, []).append(argument)
        for (key, found), names in groups.items():
            yield Probe(
                f"norse.{key}", subject, "documentation", "documented arguments: " + ", ".join(names), found,
                arguments_taken, (module, name, tuple(names)),
            )  # fmt: skip
