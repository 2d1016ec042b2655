// Property of a generated memory that is banks: the word of the address of two cycles before, for all addresses.  The
// contents are 5 * i * i + 3, modulo 64, in eleven words and banks of four.
module prove_bitprop_rom_banks #(
    parameter DEPTH = 11,
    parameter WIDTH = 6
) (
    input wire clock
);
    (* anyseq *) wire [3:0] address;
    wire [WIDTH-1:0] word;
    bitprop_rom_banks dut (.clock(clock), .address(address), .word(word));
    always @* assume (address < DEPTH);

    reg [1:0] age = 0;
    reg [3:0] first, second;
    always @(posedge clock) begin
        if (age != 2) age <= age + 1'b1;
        first <= address;
        second <= first;
    end
    wire [WIDTH-1:0] expected = 5 * second * second + 3;
    always @* if (age == 2) assert (word == expected);
endmodule
