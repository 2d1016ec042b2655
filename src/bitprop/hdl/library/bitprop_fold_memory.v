// bitprop_fold_memory: a memory that is written word by word; two cycles from address to word.  Without contents at first.
module bitprop_fold_memory #(
    parameter DEPTH = 16,
    parameter WIDTH = 8
) (
    input  wire                                  clock,
    input  wire                                  write,
    input  wire [(DEPTH > 1 ? $clog2(DEPTH) : 1)-1:0] write_address,
    input  wire [WIDTH-1:0]                      write_word,
    input  wire [(DEPTH > 1 ? $clog2(DEPTH) : 1)-1:0] address,
    output reg  [WIDTH-1:0]                      word
);
    reg [WIDTH-1:0] memory [0:DEPTH-1];
    reg [WIDTH-1:0] read;

    always @(posedge clock) begin
        if (write) memory[write_address] <= write_word;
        read <= memory[address];
        word <= read;
    end
endmodule
