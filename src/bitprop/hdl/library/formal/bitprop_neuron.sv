// Property of bitprop_neuron: from one cycle to the next total grows by the sum over the inputs of the products of their
// stream bits, +1, -1 or 0 each by the encoding; load puts the bias in its place.  Induction; everything is free.
module prove_bitprop_neuron #(
    parameter INPUTS = 3,
    parameter ENCODING = 0,
    parameter WIDTH = 8
) (
    input wire clock
);
    (* anyseq *) wire load, enable;
    (* anyseq *) wire signed [WIDTH-1:0] bias;
    (* anyseq *) wire [INPUTS-1:0] x_bits, x_negative, w_bits, w_negative;
    wire signed [WIDTH-1:0] total;

    bitprop_neuron #(.INPUTS(INPUTS), .ENCODING(ENCODING), .WIDTH(WIDTH)) dut (
        .clock(clock), .load(load), .enable(enable), .bias(bias), .x_bits(x_bits), .x_negative(x_negative),
        .w_bits(w_bits), .w_negative(w_negative), .total(total)
    );

    reg loaded = 1'b0;
    reg signed [WIDTH-1:0] model, gain, x, w;
    integer i;
    always @* begin
        gain = 0;
        for (i = 0; i < INPUTS; i = i + 1) begin
            // what each bit stands for: 0 or 1, bipolar -1 or 1, with the sign beside it
            x = ENCODING == 1 ? (x_bits[i] ? 1 : -1) : ENCODING == 2 && x_negative[i] ? -x_bits[i] : x_bits[i];
            w = ENCODING == 1 ? (w_bits[i] ? 1 : -1) : ENCODING == 2 && w_negative[i] ? -w_bits[i] : w_bits[i];
            if (x == w && x != 0) gain = gain + 1;
            else if (x != 0 && w != 0) gain = gain - 1;
        end
    end
    always @(posedge clock)
        if (load) begin
            loaded <= 1'b1;
            model <= bias;
        end else if (enable) model <= model + gain;

    always @* if (loaded) assert (total == model);
endmodule
