// Drives the model that CXXRTL writes of a design with the ports of a unit, module `network`.
//
// Standard input: six 64-bit numbers (beats, 32-bit words of a beat in and out, beats wanted, length
// of the pattern of stalls, cycles at most), the pattern (two bytes a cycle: whether the source and
// the sink act), the beats. Standard output: of every beat that leaves the cycle (64 bits) and its
// words. Exit status 3: an output changed or vanished before it was taken.
#include "design.cc"

#include <cstdio>
#include <vector>

template <size_t N> const cxxrtl::value<N> &now(const cxxrtl::value<N> &port) { return port; }
template <size_t N> const cxxrtl::value<N> &now(const cxxrtl::wire<N> &port) { return port.curr; }

template <typename T> static std::vector<T> read(size_t count) {
    std::vector<T> found(count);
    if (fread(found.data(), sizeof(T), count, stdin) != count) exit(2);
    return found;
}

int main() {
    auto head = read<uint64_t>(6);
    const size_t beats = head[0], takes = head[1], gives = head[2], wanted = head[3];
    const size_t pattern = head[4], limit = head[5];
    auto may = read<uint8_t>(2 * pattern);
    auto words = read<uint32_t>(beats * takes);

    cxxrtl_design::p_network top;
    auto clock = [&](bool level) {
        top.p_clk.set(level);
        top.step();
    };
    top.p_rst.set(true);
    clock(false);
    clock(true);
    top.p_rst.set(false);

    size_t sent = 0, taken = 0;
    bool waiting = false;
    std::vector<uint32_t> data(gives), offered(gives);
    for (uint64_t cycle = 0; cycle < limit && taken < wanted; cycle++) {
        const bool valid = may[2 * (cycle % pattern)] && sent < beats;
        const bool ready = may[2 * (cycle % pattern) + 1];
        top.p_in__valid.set(valid);
        top.p_out__ready.set(ready);
        for (size_t i = 0; valid && i < takes; i++)
            top.p_in__data.data[i] = words[sent * takes + i];
        clock(false);
        const bool out = now(top.p_out__valid).template get<bool>();
        for (size_t i = 0; i < gives; i++) data[i] = now(top.p_out__data).data[i];
        if (waiting && (!out || data != offered)) return 3;
        if (out && ready) {
            fwrite(&cycle, sizeof cycle, 1, stdout);
            fwrite(data.data(), sizeof(uint32_t), gives, stdout);
            taken++;
        }
        waiting = out && !ready;
        offered = data;
        sent += valid && now(top.p_in__ready).template get<bool>();
        clock(true);
    }
    return 0;
}
