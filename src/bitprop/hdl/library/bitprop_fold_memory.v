// bitprop_fold_memory: a memory that is written word by word; two cycles from address to word.  Without contents at first.
//
//   More than 2**BANK_BITS words are banks with two registers each, so that a block RAM's read and the choice of a bank
//   lie in different clock cycles.
module bitprop_fold_memory #(
    parameter DEPTH = 16,
    parameter WIDTH = 8,
    parameter BANK_BITS = 10
) (
    input  wire                                       clock,
    input  wire                                       write,
    input  wire [(DEPTH > 1 ? $clog2(DEPTH) : 1)-1:0] write_address,
    input  wire [WIDTH-1:0]                           write_word,
    input  wire [(DEPTH > 1 ? $clog2(DEPTH) : 1)-1:0] address,
    output wire [WIDTH-1:0]                           word
);
    localparam ADDRESS_BITS = DEPTH > 1 ? $clog2(DEPTH) : 1;

    generate
        if (ADDRESS_BITS <= BANK_BITS) begin : whole
            reg [WIDTH-1:0] memory [0:DEPTH-1];
            reg [WIDTH-1:0] read, late;
            always @(posedge clock) begin
                if (write) memory[write_address] <= write_word;
                read <= memory[address];
                late <= read;
            end
            assign word = late;
        end else begin : banks
            localparam BANKS = ((DEPTH - 1) >> BANK_BITS) + 1;
            localparam CHOICE_BITS = ADDRESS_BITS - BANK_BITS;
            wire [BANKS*WIDTH-1:0] words;
            reg  [CHOICE_BITS-1:0] choice, late_choice;
            genvar b;
            for (b = 0; b < BANKS; b = b + 1) begin : bank
                localparam [31:0] NUMBER = b;
                reg [WIDTH-1:0] memory [0:(1<<BANK_BITS)-1];
                reg [WIDTH-1:0] read, late;
                always @(posedge clock) begin
                    if (write && write_address[ADDRESS_BITS-1:BANK_BITS] == NUMBER[CHOICE_BITS-1:0])
                        memory[write_address[BANK_BITS-1:0]] <= write_word;
                    read <= memory[address[BANK_BITS-1:0]];
                    late <= read;
                end
                assign words[b*WIDTH +: WIDTH] = late;
            end
            always @(posedge clock) begin
                choice <= address[ADDRESS_BITS-1:BANK_BITS];
                late_choice <= choice;
            end
            assign word = words[late_choice*WIDTH +: WIDTH];
        end
    endgenerate
endmodule
