// A target of refimpl in C++17, without any other library: two-dimensional U(1) gauge theory and hybrid Monte Carlo.
//
//     g++ -std=c++17 -O2 -o harness harness.cpp
//     refimpl harness smoke ./harness
//     refimpl validate 'cmd:./harness'
//
// Part 1 speaks the protocol (validation/PROTOCOL.md of refimpl): keep it. Part 2 is what is judged: put your own code
// there. A request is one line of JSON on standard input, so is its answer on standard output; print other things to
// std::cerr. Requests have every key once and paths without escapes, so that a search for "key": finds all. Arrays are
// .npy files: little-endian float64 in C order, the chain axis first.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <map>
#include <numeric>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

// --- part 1: the protocol, to keep ---------------------------------------------------------------------------------
using Error = std::runtime_error;  // wherever it is thrown, its message is the answer

struct Array {
    std::vector<std::size_t> shape;
    std::vector<double> data;
};
using Arrays = std::map<std::string, Array>;

std::string start(const std::string& parameters);  // both in part 2
Arrays run(const std::string& op, const Arrays& in, const std::string& params);

// Whether a line may be a JSON object: it begins and ends as one, and nothing in it was left open.
bool whole(const std::string& line) {
    int depth = 0;
    bool quoted = false;
    for (std::size_t i = 0; i < line.size(); ++i) {
        if (line[i] == '"') quoted = !quoted;
        if (quoted && line[i] == '\\') ++i;
        if (!quoted) depth += (line[i] == '{') + (line[i] == '[') - (line[i] == '}') - (line[i] == ']');
    }
    return line.size() > 1 && line.front() == '{' && line.back() == '}' && depth == 0 && !quoted;
}

// What stands behind "key": in a JSON object, without quotes or brackets (flat ones); empty where there is no such key.
std::string field(const std::string& json, const std::string& key) {
    const std::size_t at = json.find('"' + key + "\":");
    if (at == std::string::npos) return "";
    std::size_t begin = json.find_first_not_of(' ', at + key.size() + 3);
    if (begin == std::string::npos) return "";
    const char first = json[begin];
    const char* close = first == '"' ? "\"" : first == '{' ? "}" : first == '[' ? "]" : ",} ";
    if (first == '"' || first == '{' || first == '[') ++begin;
    return json.substr(begin, json.find_first_of(close, begin) - begin);
}

// The number behind "key":, or `otherwise` where there is none.
double number(const std::string& json, const std::string& key, double otherwise, double low, double high) {
    const std::string text = field(json, key);
    char* end = nullptr;
    const double value = text.empty() ? otherwise : std::strtod(text.c_str(), &end);
    if ((!end || (end != text.c_str() && !*end)) && low <= value && value <= high) return value;
    std::ostringstream message;
    message << key << ": got '" << text << "', expected a number from " << low << " to " << high;
    throw Error(message.str());
}

// The inside of {"name":"path",...} by name.
std::map<std::string, std::string> paths(const std::string& object) {
    std::map<std::string, std::string> found;
    std::istringstream text(object);
    for (std::string skip, name, path; std::getline(text, skip, '"') && std::getline(text, name, '"') &&
                                       std::getline(text, skip, '"') && std::getline(text, path, '"');)
        found[name] = path;
    return found;
}

// The argument of that name and shape; an extent of 0 stands for any number but 0.
const Array& argument(const Arrays& in, const std::string& name, const std::vector<std::size_t>& shape) {
    const auto found = in.find(name);
    if (found == in.end()) throw Error(name + ": got no such array");
    const auto fits = [](std::size_t got, std::size_t wanted) { return wanted ? got == wanted : got > 0; };
    const auto& got = found->second.shape;
    if (std::equal(got.begin(), got.end(), shape.begin(), shape.end(), fits)) return found->second;
    throw Error(name + ": got an array of another shape than expected");
}

Array read_npy(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    unsigned char first[10];
    if (!file.read(reinterpret_cast<char*>(first), 10) || std::memcmp(first, "\x93NUMPY\x01", 7) != 0)
        throw Error(path + ": got no .npy file of version 1");
    std::string header(first[8] + 256u * first[9], ' ');
    file.read(header.data(), static_cast<std::streamsize>(header.size()));
    const std::streamoff begin = file.tellg();
    const std::streamoff size = file.seekg(0, std::ios::end).tellg() - begin;
    const std::size_t at = header.find("'shape': (");
    const bool known = header.find("'descr': '<f8'") < at && header.find("'fortran_order': False") < at;
    if (!file.seekg(begin) || at == std::string::npos || !known)
        throw Error(path + ": expected float64 in C order, got " + header);
    Array array;
    std::size_t n = 1;
    char* end = nullptr;
    for (const char* p = header.c_str() + at + 10;; p = *end == ',' ? end + 1 : end) {
        const std::size_t extent = std::strtoull(p, &end, 10);
        if (end == p) break;
        array.shape.push_back(extent);
        if (extent && n > std::size_t(size) / extent) throw Error(path + ": is shorter than its shape");
        n *= extent;
    }
    if (n * sizeof(double) != std::size_t(size)) throw Error(path + ": is longer or shorter than its shape");
    array.data.resize(n);
    if (!file.read(reinterpret_cast<char*>(array.data.data()), size)) throw Error(path + ": could not be read");
    return array;
}

void write_npy(const std::string& path, const Array& array) {
    std::string header = "{'descr': '<f8', 'fortran_order': False, 'shape': (";
    for (const std::size_t extent : array.shape) header += std::to_string(extent) + ",";
    header += "), }";
    header.resize((header.size() + 74) / 64 * 64 - 11, ' ');  // 10 bytes before, one after: a multiple of 64
    header += '\n';
    const char length[] = {static_cast<char>(header.size() % 256), static_cast<char>(header.size() / 256)};
    const std::streamsize size = static_cast<std::streamsize>(array.data.size() * sizeof(double));
    std::ofstream file(path, std::ios::binary);
    file.write("\x93NUMPY\x01\x00", 8).write(length, 2) << header;
    file.write(reinterpret_cast<const char*>(array.data.data()), size);
    if (!file.flush()) throw Error(path + ": could not be written");
}

// What the answer to a request says besides its status.
std::string answer(const std::string& type, const std::string& line) {
    if (type == "start") {
        number(line, "protocol", 0, 1, 1);
        return ",\"protocol\":1," + start(field(line, "parameters"));
    }
    if (type == "stop") return "";
    if (type != "run") throw Error("type: got " + type + ", expected start, run or stop");
    Arrays in;
    for (const auto& [name, path] : paths(field(line, "in"))) in[name] = read_npy(path);
    const Arrays results = run(field(line, "op"), in, field(line, "params"));
    const auto out = paths(field(line, "out"));
    if (out.empty()) throw Error("out: got no paths");
    for (const auto& [name, path] : out) {
        if (!results.count(name)) throw Error("out: got " + name + ", which is no result of " + field(line, "op"));
        write_npy(path, results.at(name));
    }
    return "";
}

int main() {
    for (std::string line, type; type != "stop" && std::getline(std::cin, line);) {
        const bool good = whole(line);
        type = good ? field(line, "type") : "";
        std::string id = good ? field(line, "id") : "";
        id = id.empty() || id.find_first_not_of("0123456789") != std::string::npos ? "" : ",\"id\":" + id;
        try {
            if (!good) throw Error("got no JSON object in one line");
            std::cout << "{\"status\":\"ok\"" + id + answer(type, line) + "}" << std::endl;
        } catch (const std::exception& error) {
            std::string message = std::string(error.what()).substr(0, 400);
            for (char& c : message) c = c < ' ' || c > '~' || c == '"' || c == '\\' ? '\'' : c;
            std::cout << "{\"status\":\"errored\"" + id + ",\"message\":\"" + message + "\"}" << std::endl;
        }
    }
}

// --- part 2: yours -------------------------------------------------------------------------------------------------
// The links of a chain stand in a row as x[mu][t][s], mu = 0 in time; so do its momenta and forces.
struct {
    double beta = 2, step_size = 0.3;
    int n_t = 4, n_x = 4, n_steps = 5;
} now;
const double pi = std::acos(-1.0);

int volume() { return now.n_t * now.n_x; }
int site(int t, int s) { return t % now.n_t * now.n_x + s % now.n_x; }
double wrap(double angle) { return angle - 2 * pi * std::floor((angle + pi) / (2 * pi)); }

double plaquette_angle(const double* x, int t, int s) {
    return x[site(t, s)] + x[volume() + site(t + 1, s)] - x[site(t, s + 1)] - x[volume() + site(t, s)];
}

double plaquette_sum(const double* x, double (*f)(double)) {
    double sum = 0;
    for (int i = 0; i < volume(); ++i) sum += f(plaquette_angle(x, i / now.n_x, i % now.n_x));
    return sum;
}

double action(const double* x) { return now.beta * (volume() - plaquette_sum(x, std::cos)); }
double plaquette(const double* x) { return plaquette_sum(x, std::cos) / volume(); }
double charge(const double* x) { return std::rint(plaquette_sum(x, wrap) / (2 * pi)); }

void add_force(const double* x, double factor, double* v) {  // v += factor * dS/dx
    for (int t = 0; t < now.n_t; ++t)
        for (int s = 0; s < now.n_x; ++s) {
            const double f = factor * now.beta * std::sin(plaquette_angle(x, t, s));
            v[site(t, s)] += f;
            v[site(t, s + 1)] -= f;
            v[volume() + site(t + 1, s)] += f;
            v[volume() + site(t, s)] -= f;
        }
}

void leapfrog(double* x, double* v) {
    for (int step = 0; step < now.n_steps; ++step) {
        add_force(x, -now.step_size / 2, v);
        for (int i = 0; i < 2 * volume(); ++i) x[i] += now.step_size * v[i];
        add_force(x, -now.step_size / 2, v);
    }
}

double energy(const double* x, const double* v) {
    return action(x) + std::inner_product(v, v + 2 * volume(), v, 0.0) / 2;
}

Arrays transition(const Array& x, const Array& v, const Array& u) {
    Array x_proposed = x, v_proposed = v, x_next = x, delta_h = u, accept = u;
    for (std::size_t chain = 0, size = 2 * volume(); chain < u.data.size(); ++chain) {
        double *x_new = &x_proposed.data[chain * size], *v_new = &v_proposed.data[chain * size];
        leapfrog(x_new, v_new);
        delta_h.data[chain] = energy(x_new, v_new) - energy(&x.data[chain * size], &v.data[chain * size]);
        accept.data[chain] = u.data[chain] < std::exp(-delta_h.data[chain]);
        if (accept.data[chain] == 1) std::transform(x_new, x_new + size, &x_next.data[chain * size], wrap);
    }
    const Array logdet{u.shape, std::vector<double>(u.data.size())};
    return {{"x_proposed", x_proposed}, {"v_proposed", v_proposed}, {"logdet", logdet}, {"delta_h", delta_h},
            {"accept", accept}, {"x_next", x_next}, {"step", x_next}, {"v", v}, {"u", u}};
}

Arrays update(const Array& x, std::uint64_t seed) {  // with random numbers of our own, a stream for every chain
    Array v = x, u{{x.shape[0]}, std::vector<double>(x.shape[0])};
    for (std::size_t chain = 0, size = 2 * volume(); chain < u.data.size(); ++chain) {
        std::seed_seq words{seed, seed >> 32, std::uint64_t{chain}};
        std::mt19937_64 stream(words);
        std::normal_distribution<double> normal;
        std::generate_n(&v.data[chain * size], size, [&] { return normal(stream); });
        u.data[chain] = std::uniform_real_distribution<double>()(stream);
    }
    return transition(x, v, u);
}

// `in` has the arrays of the call, `params` its numbers. Results have the names of the contract, a single one its op's.
Arrays run(const std::string& op, const Arrays& in, const std::string& params) {
    const std::map<std::string, double (*)(const double*)> scalars{
        {"action", action}, {"plaquette", plaquette}, {"charge", charge}};
    const Array& x = argument(in, "x", {0, 2, std::size_t(now.n_t), std::size_t(now.n_x)});
    const std::size_t chains = x.shape[0], size = 2 * volume();
    const Array zeros{{chains}, std::vector<double>(chains)};
    if (scalars.count(op)) {
        Array values = zeros;
        for (std::size_t chain = 0; chain < chains; ++chain) values.data[chain] = scalars.at(op)(&x.data[chain * size]);
        return {{op, values}};
    }
    if (op == "force") {
        Arrays results;  // filled in place: a list in braces would be copied
        Array& force = results[op] = {x.shape, std::vector<double>(x.data.size())};
        for (std::size_t i = 0; i < x.data.size(); i += size) add_force(&x.data[i], 1, &force.data[i]);
        return results;
    }
    if (op == "forward" || op == "inverse") {  // the inverse is the map between two flips of the momenta
        const double sign = op == "forward" ? 1 : -1;
        Array y = x, w = argument(in, "v", x.shape);
        for (double& p : w.data) p *= sign;
        for (std::size_t i = 0; i < y.data.size(); i += size) leapfrog(&y.data[i], &w.data[i]);
        for (double& p : w.data) p *= sign;
        return {{"x_proposed", y}, {"v_proposed", w}, {"logdet", zeros}};
    }
    if (op == "transition") return transition(x, argument(in, "v", x.shape), argument(in, "u", {chains}));
    if (op == "transcript" || op == "step") {
        const std::string seed = field(params, "seed");
        if (seed.empty() || seed.size() > 19 || seed.find_first_not_of("0123456789") != std::string::npos)
            throw Error("seed: got '" + seed + "', expected an integer from 0 to 2^63 - 1");
        return update(x, std::stoull(seed));
    }
    throw Error("op: got " + op + ", which is not in ops");
}

std::string start(const std::string& parameters) {
    auto next = now;  // kept only if all are good
    next.beta = number(parameters, "beta", now.beta, 1e-9, 1e9);
    next.step_size = number(parameters, "step_size", now.step_size, 1e-9, 1e9);
    const double n_steps = number(parameters, "n_steps", now.n_steps, 1, 1e6);
    next.n_steps = int(n_steps);
    if (next.n_steps != n_steps) throw Error("n_steps: got " + field(parameters, "n_steps") + ", expected an integer");
    std::istringstream shape(field(parameters, "shape"));
    char comma = 0;
    const bool two = shape.str().empty() || (shape >> next.n_t >> comma >> next.n_x && comma == ',' && shape.eof());
    if (!two || std::min(next.n_t, next.n_x) < 2 || std::max(next.n_t, next.n_x) > 4096)
        throw Error("shape: got [" + shape.str() + "], expected [T,X] with extents from 2 to 4096");
    now = next;
    std::ostringstream text;
    text.precision(17);
    text << R"("name":"U(1) HMC in C++","language":"C++","version":"1.0","theory":"u1",)"
         << R"("ops":["action","force","plaquette","charge","forward","inverse","transition","transcript","step"],)"
         << R"("varies":["beta","shape","step_size","n_steps"],"parameters":{"beta":)" << now.beta << R"(,"shape":[)"
         << now.n_t << ',' << now.n_x << R"(],"step_size":)" << now.step_size << R"(,"n_steps":)" << now.n_steps << '}';
    return text.str();
}
