// Property of bitprop_fold_memory: the word is what was written last to the address of two cycles before, whichever bank
// it lies in.  For all writes and addresses; a word that was never written may be any.
module prove_bitprop_fold_memory #(
    parameter DEPTH = 6,
    parameter WIDTH = 3,
    parameter BANK_BITS = 1
) (
    input wire clock
);
    localparam BITS = DEPTH > 1 ? $clog2(DEPTH) : 1;

    (* anyseq *) wire write;
    (* anyseq *) wire [BITS-1:0] write_address, address;
    (* anyseq *) wire [WIDTH-1:0] write_word;
    wire [WIDTH-1:0] word;
    bitprop_fold_memory #(.DEPTH(DEPTH), .WIDTH(WIDTH), .BANK_BITS(BANK_BITS)) dut (
        .clock(clock), .write(write), .write_address(write_address), .write_word(write_word), .address(address),
        .word(word)
    );
    always @* begin
        assume (write_address < DEPTH);
        assume (address < DEPTH);
    end

    // one place, any of them
    (* anyconst *) wire [BITS-1:0] watched;
    reg known = 1'b0;
    reg [WIDTH-1:0] content, first, second;
    reg [1:0] due = 0;
    always @(posedge clock) begin
        if (write && write_address == watched) begin
            known <= 1'b1;
            content <= write_word;
        end
        due <= {due[0], known && address == watched};
        first <= content;
        second <= first;
    end
    always @* if (due[1]) assert (word == second);
endmodule
