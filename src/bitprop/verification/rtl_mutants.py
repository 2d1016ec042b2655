"""Planted faults of the Verilog library: one edit each, which every check of the library must object to.

The agreement grid (tests) meets those of the operations; the proofs meet all of them.
"""

from __future__ import annotations

from bitprop.errors import RangeError

__all__ = ["RTL_MUTANTS", "mutated"]

RTL_MUTANTS: dict[str, tuple[str, str, str]] = {
    "lfsr wrong taps": ("lfsr", "POLYNOMIAL[WIDTH:1]", "POLYNOMIAL[WIDTH-1:0]"),
    "lfsr state not less one": ("lfsr", "state - 1'b1", "state"),
    "lfsr inverted feedback": ("lfsr", "= ^(state", "= ~^(state"),
    "lfsr enable before restart": ("lfsr", "if (restart) state", "if (restart & ~enable) state"),
    "sobol misses the first direction": ("sobol", "i >= 0", "i >= 1"),
    "sobol not scrambled": ("sobol", "state <= SEED", "state <= 0"),
    "sobol highest zero": ("sobol", "for (i = WIDTH - 2; i >= 0; i = i - 1)", "for (i = 0; i < WIDTH - 1; i = i + 1)"),
    "sobol index not restarted": ("sobol", "index <= 0;", "index <= index;"),
    "halton not reversed": ("halton", "index[WIDTH-1-i]", "index[i]"),
    "halton no guard bits": ("halton", "inverse = sum[SUM_BITS-1:8]", "inverse = sum[WIDTH-1:0]"),
    "halton digit two counts once": ("halton", "SUM_BITS] << 1", "SUM_BITS]"),
    "halton carries at three": ("halton", "carry = carry & index[2*i+1]", "carry = carry & (&index[2*i +: 2])"),
    "halton a digit short": ("halton", "reach < limit", "reach * 3 < limit"),
    "counter ignores stride": ("counter", "count + STRIDE", "count + 1'b1"),
    "counter ignores seed": ("counter", "count <= SEED", "count <= 0"),
    "counter ignores enable": ("counter", "else if (enable)", "else"),
    "compare less or equal": ("compare", "} < threshold", "} <= threshold"),
    "compare drops the top bit": ("compare", "{1'b0, number} < threshold", "number < threshold[WIDTH-1:0]"),
    "correlate less or equal": ("correlate", ") < $signed", ") <= $signed"),
    "correlate never mirrors": ("correlate", "NEGATIVE != 0", "NEGATIVE > 1"),
    "correlate negates arithmetically": ("correlate", "? ~activation_number", "? -activation_number"),
    "encode rounds half up": ("encode", "doubled[1] & doubled[0]", "doubled[0]"),
    "encode truncates": ("encode", " + {{WIDTH{1'b0}}, doubled[1] & doubled[0]}", ""),
    "encode does not saturate above": ("encode", "value > ONE ? ONE : value", "value"),
    "encode does not saturate below": ("encode", "value < LOW ? LOW : ", ""),
    "encode drops the sign": ("encode", "assign negative = clamped[WIDTH+1]", "assign negative = 1'b0"),
    "multiply drops the sign": ("multiply", "gated ^ negative", "gated"),
    "multiply signs every encoding": ("multiply", "ENCODING == 2 ?", "ENCODING != 3 ?"),
    "multiply XOR for XNOR": ("multiply", "~(x_bits ^ w_bits)", "(x_bits ^ w_bits)"),
    "multiply OR for AND": ("multiply", "x_bits & w_bits", "x_bits | w_bits"),
    "count without the negative offset": ("count", "positive - taken", "positive"),
    "count without the bipolar offset": ("count", " - INPUTS[WIDTH-1:0]", ""),
    "count bipolar not doubled": ("count", "(positive << 1)", "positive"),
    "count a bit short": ("count", "TALLY = $clog2(INPUTS + 1)", "TALLY = $clog2(INPUTS)"),
    "accumulate adds before it loads": ("accumulate", "if (load)", "if (load & ~enable)"),
    "accumulate ignores enable": ("accumulate", "else if (enable)", "else"),
    "accumulate drops the sign": ("accumulate", "{contribution[INPUT_WIDTH-1]}", "{1'b0}"),
    "requantise does not round": ("requantise", "(scaled + HALF)", "(scaled)"),
    "requantise rounds half down": ("requantise", "(scaled + HALF)", "(scaled + HALF - 1)"),
    "requantise shifts in zeros": ("requantise", "HALF) >>> SHIFT", "HALF) >> SHIFT"),
    "requantise drops the sign": ("requantise", "{acc[ACC_WIDTH-1]}", "{1'b0}"),
    "requantise wraps below": ("requantise", "rounded < LOWEST ? LOW : ", ""),
    "requantise wraps above": ("requantise", "rounded > HIGHEST ? HIGH : ", ""),
    "requantise compares unsigned": ("requantise", "rounded < LOWEST", "$unsigned(rounded) < $unsigned(LOWEST)"),
    "argmax last among equals": ("argmax", "> best", ">= best"),
    "argmax unsigned": ("argmax", "$signed(values[i*WIDTH +: WIDTH]) > best", "values[i*WIDTH +: WIDTH] > best"),
    "argmax minimum": ("argmax", "> best", "< best"),
    "argmax forgets to take over the value": (
        "argmax",
        "best = values[i*WIDTH +: WIDTH];\n                index",
        "index",
    ),
    "correlate selects one short": ("correlate", "{1'b0, THRESHOLD}", "{1'b0, THRESHOLD} - 1"),
    "accumulate keeps the last total": ("accumulate", "total + extended", "extended"),
    "lfsr shifts the other way": ("lfsr", "{state[WIDTH-2:0], feedback}", "{feedback, state[WIDTH-1:1]}"),
    "halton does not wrap": ("halton", "index[2*i+1] ? 2'd0 :", "index[2*i+1] ? 2'd2 :"),
    "stage a cycle short": ("bitprop_stage", "remaining <= LENGTH[", "remaining <= -1 + LENGTH["),
    "stage overwrites a result that nobody took": (
        "bitprop_stage",
        "!busy && (!out_valid || out_ready)",
        "!busy",
    ),
    "stage accepts while it computes": ("bitprop_stage", "!busy && (", "("),
    "stage withdraws its result": ("bitprop_stage", "else if (out_ready) out_valid", "else out_valid"),
    "stage gives a result twice": ("bitprop_stage", "else if (out_ready) out_valid", "else if (load) out_valid"),
    "stage waits a cycle between samples": ("bitprop_stage", "(!out_valid || out_ready)", "!out_valid"),
    "stage loads without a sample": ("bitprop_stage", "load = in_valid && in_ready", "load = in_ready"),
    "stage stays busy": ("bitprop_stage", "else if (store) busy <= 1'b0", "else if (store) busy <= in_valid"),
    "stage is not reset": ("bitprop_stage", "            out_valid <= 1'b0;\n        end else", "        end else"),
    "decision withdraws its answer": ("bitprop_decision", "else if (in_ready) out_valid", "else out_valid"),
    "decision changes while it waits": ("bitprop_decision", "if (in_valid && in_ready) begin", "if (in_valid) begin"),
    "decision overwrites an answer": ("bitprop_decision", "in_ready = !out_valid || out_ready", "in_ready = 1'b1"),
    "decision loses samples": ("bitprop_decision", "in_ready = !out_valid || out_ready", "in_ready = out_ready"),
    "decision holds old logits": ("bitprop_decision", "out_logits <= logits", "out_logits <= out_logits"),
    "input bank follows its inputs": ("bitprop_input_bank", ".threshold(threshold)", ".threshold(encoded)"),
    "input bank sign of another lane": ("bitprop_input_bank", "negative[i] = sign", "negative[INPUTS-1-i] = sign"),
    "input bank latches always": ("bitprop_input_bank", "if (load) begin", "begin"),
    "input bank keeps the sign": ("bitprop_input_bank", "sign <= encoded_negative", "sign <= sign"),
    "input bank values packed the other way": (
        "bitprop_input_bank",
        "values[i*(WIDTH+2) +:",
        "values[(INPUTS-1-i)*(WIDTH+2) +:",
    ),
    "neuron sign of the weight only": ("bitprop_neuron", "x_negative ^ w_negative", "w_negative"),
    "neuron OR of the signs": ("bitprop_neuron", "x_negative ^ w_negative", "x_negative | w_negative"),
    "neuron squares its input": ("bitprop_neuron", ".w_bits(w_bits)", ".w_bits(x_bits)"),
    "neuron never stops": ("bitprop_neuron", ".enable(enable)", ".enable(1'b1)"),
    "requantise bank neuron of another lane": (
        "bitprop_requantise_bank",
        "accumulators[o*ACC_WIDTH +:",
        "accumulators[(OUTPUTS-1-o)*ACC_WIDTH +:",
    ),
    "requantise bank ignores its shift": ("bitprop_requantise_bank", ".SHIFT(SHIFT)", ".SHIFT(SHIFT + 1)"),
    "requantise bank ignores its bound": ("bitprop_requantise_bank", "                .LOW(LOW),\n", ""),
    "mac neuron weights unsigned": ("bitprop_mac_neuron", "{X_WIDTH{w[i*W_WIDTH+W_WIDTH-1]}}", "{X_WIDTH{1'b0}}"),
    "mac neuron activations signed": ("bitprop_mac_neuron", "{W_WIDTH{1'b0}}", "{W_WIDTH{x[i*X_WIDTH+X_WIDTH-1]}}"),
    "mac neuron without bias": (
        "bitprop_mac_neuron",
        "total <= (first ? bias : total)",
        "total <= (first ? 0 : total)",
    ),
    "fold control skips the last word": ("bitprop_fold_control", "WORD_LIMIT = WORDS - 1", "WORD_LIMIT = WORDS - 2"),
    "fold control repeats a group": ("bitprop_fold_control", "group <= final_group ? 0 : group + 1'b1", "group <= 0"),
    "fold code ranks from one": ("bitprop_fold_code", "code = $countones(passed)", "code = $countones(passed) + 1"),
    "fold buffer drops the sign": ("bitprop_fold_buffer", "there && negative", "1'b0"),
    "fold buffer reads the other place": ("bitprop_fold_buffer", "{out_place, word}", "{!out_place, word}"),
    "fold streams less or equal": (
        "bitprop_fold_streams",
        ".threshold({1'b0, codes[i*CODE_WIDTH +: CODE_WIDTH]})",
        ".threshold({1'b0, codes[i*CODE_WIDTH +: CODE_WIDTH]} + 1'b1)",
    ),
    "fold tree forgets a sign": ("bitprop_fold_tree", "{right[BITS-2], right}", "{1'b0, right}"),
    "fold neuron signs by the input alone": (
        "bitprop_fold_neuron",
        "x_negative[i] ^ weights[i*LANE+CODE_WIDTH]",
        "x_negative[i]",
    ),
    "fold neuron keeps the last group's total": (
        "bitprop_fold_neuron",
        "total <= (first ? bias : total)",
        "total <= total",
    ),
    "fold bank biases of the first neuron": (
        "bitprop_fold_bank",
        ".bias(biases[o*WIDTH +: WIDTH])",
        ".bias(biases[0 +: WIDTH])",
    ),
    "fold drain one behind": ("bitprop_fold_drain", "out_value = queue[WIDTH-1:0]", "out_value = totals[WIDTH-1:0]"),
    "fold delay a cycle short": (
        "bitprop_fold_delay",
        "out = line[(CYCLES-1)*WIDTH +: WIDTH]",
        "out = line[0 +: WIDTH]",
    ),
    "fold requantise does not round": ("bitprop_fold_requantise", "(extended + HALF)", "(extended)"),
    "fold requantise wraps above": ("bitprop_fold_requantise", "rounded > HIGHEST ? HIGH : ", ""),
    "fold decision last among equals": ("bitprop_fold_decision", "in_value > best", "in_value >= best"),
    "fold decision logits shifted": (
        "bitprop_fold_decision",
        "{in_value, logits[CLASSES*WIDTH-1:WIDTH]}",
        "{logits[(CLASSES-1)*WIDTH-1:0], in_value}",
    ),
    "fold register always there": ("bitprop_fold_register", "if (ENABLED != 0)", "if (ENABLED != 2)"),
    "fold collect turned round": ("bitprop_fold_collect", "{in_value, line[VALUES*WIDTH-1:WIDTH]}", "{line, in_value}"),
    "memory in banks chooses a bank a cycle early": (
        "bitprop_rom_banks",
        "bank_word <= bank_read",
        "bank_word <= address[3:2]",
    ),
    "memory in banks exchanges two banks": ("bitprop_rom_banks", "2'd0: word = word_0", "2'd0: word = word_1"),
    "memory in banks reads the next word": (
        "bitprop_rom_banks",
        "memory_1[address[1:0]]",
        "memory_1[address[1:0] + 1'b1]",
    ),
    "fold memory chooses a bank a cycle early": (
        "bitprop_fold_memory",
        "words[late_choice*WIDTH",
        "words[choice*WIDTH",
    ),
    "fold memory writes every bank": (
        "bitprop_fold_memory",
        "if (write && write_address[ADDRESS_BITS-1:BANK_BITS] == NUMBER[CHOICE_BITS-1:0])",
        "if (write)",
    ),
    "fold memory reads a cycle early": ("bitprop_fold_memory", "assign word = late", "assign word = read"),
    "fold loader is loaded a word early": ("bitprop_fold_loader", "loaded <= bias_end", "loaded <= 1'b1"),
    "fold loader stays loaded": (
        "bitprop_fold_loader",
        "                loaded <= 1'b0;\n            end",
        "            end",
    ),
    "fold loader takes words while it runs": ("bitprop_fold_loader", "in_ready = idle", "in_ready = 1'b1"),
    "fold loader repeats a weight": (
        "bitprop_fold_loader",
        "weight_end ? 0 : weight_word",
        "weight_end ? 1 : weight_word",
    ),
    "crc of another polynomial": ("bitprop_crc", "16'h1021", "16'h8005"),
    "crc drops the byte": ("bitprop_crc", "now ^ {value, 8'd0}", "now"),
    "uart receiver highest bit first": ("bitprop_uart_receiver", "{taken, shift[7:1]}", "{shift[6:0], taken}"),
    "uart receiver a bit short": ("bitprop_uart_receiver", "stop = place == 4'd9", "stop = place == 4'd8"),
    "uart receiver believes any stop bit low": ("bitprop_uart_receiver", "broken = !taken", "broken = taken"),
    "uart transmitter sends the complement": ("bitprop_uart_transmitter", "{~in_value, 1'b1}", "{in_value, 1'b1}"),
    "uart transmitter a clock long": ("bitprop_uart_transmitter", "tick <= bit_end ? 0 :", "tick <= tick == 7 ? 0 :"),
    "uart transmitter idles low": ("bitprop_uart_transmitter", "serial = !low[0]", "serial = !low[0] && !in_ready"),
    "serial sample ignores the crc": ("bitprop_serial_sample", "|| late || crc_after != 16'd0", "|| late"),
    "serial sample ignores stop bits": ("bitprop_serial_sample", "bad = broken || in_broken ||", "bad ="),
    "serial sample a lane behind": (
        "bitprop_serial_sample",
        "packed_word[lane*WIDTH +: WIDTH]",
        "packed_word[0 +: WIDTH]",
    ),
    "serial sample gives its first beat twice": (
        "bitprop_serial_sample",
        "there <= full && !taken",
        "there <= full",
    ),
    "serial answer logits without a sign": (
        "bitprop_serial_answer",
        "{in_logits[o*LOGIT_WIDTH+LOGIT_WIDTH-1]}",
        "{1'b0}",
    ),
    "serial answer crc low byte first": ("bitprop_serial_answer", "left == 2 ? crc[15:8]", "left == 2 ? crc[7:0]"),
    "serial answer does not wait for ready": (
        "bitprop_serial_answer",
        "sent = out_valid && out_ready",
        "sent = out_valid",
    ),
    "serial answer calls a report an answer": ("bitprop_serial_answer", "fault <= waiting", "fault <= 1'b0"),
    "board reset a cycle short": ("bitprop_board_reset", "count != 4'd15", "count != 4'd14"),
    "board reset ignores the button": ("bitprop_board_reset", "if (pressed[1]) count", "if (1'b0) count"),
    "fold spread repeats its first beat": ("bitprop_fold_spread", "filled[beat*LANES*WIDTH +:", "filled[0 +:"),
}
"""Name to module stem, text that occurs in it once, and what replaces it."""


def mutated(name: str, text: str) -> str:
    """The text of the mutant's module with the fault in it.

    Args:
        name: key of :data:`RTL_MUTANTS`.
        text: the module as shipped.

    Raises:
        RangeError: no such mutant, or the module does not have the text to replace exactly once.

    Example:
        >>> mutated("compare less or equal", "assign stream_bit = {1'b0, number} < threshold;")
        "assign stream_bit = {1'b0, number} <= threshold;"
    """
    if name not in RTL_MUTANTS:
        raise RangeError(f"expected a planted fault, got {name!r}; RTL_MUTANTS lists them")
    module, old, new = RTL_MUTANTS[name]
    if text.count(old) != 1:
        raise RangeError(f"expected {old!r} once in {module}, found it {text.count(old)} times; correct {name!r}")
    return text.replace(old, new)
