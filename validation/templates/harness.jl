# A target of refimpl in Julia (1.6 or later), with its standard library alone: two-dimensional U(1) gauge theory and hybrid
# Monte Carlo.
#
#     refimpl harness smoke 'julia harness.jl'
#     refimpl validate 'cmd:julia harness.jl'
#
# This file was read with care, twice, but never run: there was no Julia where it was written. The same program in C++ and in
# Python beside it is run by the tests. Please report what does not work.
#
# Part 1 speaks the protocol (validation/PROTOCOL.md of refimpl): keep it. Part 2 is what is judged: put your own code there. A
# request is one line of JSON on stdin, so is its answer on stdout; print other things to stderr. Requests have every key once
# and paths without escapes, so that a search for "key": finds all.
#
# Arrays are .npy files: little-endian float64 in C order, the chain axis first. In C order the last axis is the fastest, in
# Julia the first is. So the bytes are read and written as they are, with the axes in reverse: what PROTOCOL.md calls
# x[chain, mu, t, s] is x[s, t, mu, chain] here, and nothing is ever transposed.

using Random

# --- part 1: the protocol, to keep ------------------------------------------------------------------------------------

# What stands behind "key": in a JSON object, without quotes or brackets (flat ones); empty where there is no such key.
function field(json, key)
    value = "(?:\"([^\"]*)\"|\\{([^}]*)\\}|\\[([^\\]]*)\\]|([^\\s,}\\]]+))"
    found = match(Regex("\"" * key * "\": *" * value), json)
    return found === nothing ? "" : String(something(found.captures..., ""))
end

# The number behind "key":, or `otherwise` where there is none.
function number(json, key, otherwise, low, high)
    text = field(json, key)
    value = isempty(text) ? Float64(otherwise) : tryparse(Float64, text)
    if value === nothing || !(low <= value <= high)
        error("$key: got '$text', expected a number from $low to $high")
    end
    return value
end

# The inside of {"name":"path",...} by name.
paths(object) = Dict{String,String}(m[1] => m[2] for m in eachmatch(r"\"([^\"]+)\":\"([^\"]*)\"", object))

# The argument of that name and size.
function argument(arrays, name, shape)
    haskey(arrays, name) || error("$name: got no such array")
    got = size(arrays[name])
    got == shape || error("$name: got shape $(reverse(got)), expected $(reverse(shape))")
    return arrays[name]
end

function read_npy(path)
    open(path, "r") do file
        read(file, 8) == b"\x93NUMPY\x01\x00" || error("$path: got no .npy file of version 1")
        header = String(read(file, Int(ltoh(read(file, UInt16)))))
        shape = match(r"'shape': \(([0-9, ]*)\)", header)
        good = occursin("'descr': '<f8'", header) && occursin("'fortran_order': False", header)
        (good && shape !== nothing) || error("$path: expected float64 in C order")
        extents = Int[parse(Int, m.match) for m in eachmatch(r"[0-9]+", shape[1])]
        n = prod(big.(extents))  # of any size, what a damaged header may say
        8 * n == filesize(path) - position(file) || error("$path: is longer or shorter than its shape")
        data = read!(file, Vector{Float64}(undef, Int(n)))
        return reshape(data, Tuple(reverse(extents)))
    end
end

function write_npy(path, array)
    extents = join(string(n) * "," for n in reverse(size(array)))
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (" * extents * "), }"
    header = rpad(header, 64 * cld(length(header) + 11, 64) - 11) * "\n"  # 10 bytes before: a multiple of 64
    open(path, "w") do file
        write(file, b"\x93NUMPY\x01\x00")
        write(file, htol(UInt16(length(header))))
        write(file, header)
        write(file, convert(Array{Float64}, array))
    end
end

# What the answer to a request says besides its status.
function answer(type, line)
    if type == "start"
        number(line, "protocol", 0, 1, 1)
        return ",\"protocol\":1" * start(field(line, "parameters"))
    end
    type == "stop" && return ""
    type == "run" || error("type: got '$type', expected start, run or stop")
    op = field(line, "op")
    arrays = Dict{String,Array{Float64}}(name => read_npy(path) for (name, path) in paths(field(line, "in")))
    results = call(op, arrays, field(line, "params"))
    out = paths(field(line, "out"))
    isempty(out) && error("out: got no paths")
    for (name, path) in out
        haskey(results, name) || error("out: got $name, which is no result of $op")
        write_npy(path, results[name])
    end
    return ""
end

function main()
    for line in eachline(stdin)
        type, id = "", ""
        try
            whole = isvalid(line) && startswith(line, "{") && endswith(line, "}")
            whole || error("got no JSON object in one line")
            type = field(line, "type")
            asked = field(line, "id")
            id = isempty(asked) || !all(isdigit, asked) ? "" : ",\"id\":" * asked
            println(stdout, "{\"status\":\"ok\"" * id * answer(type, line) * "}")
        catch problem
            plain(c) = isascii(c) && isprint(c) && c != '"' && c != '\\' ? c : '\''
            message = first(map(plain, sprint(showerror, problem)), 400)
            println(stdout, "{\"status\":\"errored\"" * id * ",\"message\":\"" * message * "\"}")
        end
        flush(stdout)
        type == "stop" && break
    end
end

# --- part 2: yours ----------------------------------------------------------------------------------------------------
# Links are x[s, t, mu, chain], mu = 1 in time (0 in the protocol); so are momenta and forces. Angles of plaquettes are
# [s, t, chain].
mutable struct Lattice
    beta::Float64
    n_t::Int
    n_x::Int
    step_size::Float64
    n_steps::Int
end
const lattice = Lattice(2.0, 4, 4, 0.3, 5)

wrap(angle) = angle - 2 * pi * floor((angle + pi) / (2 * pi))
per_chain(values) = vec(sum(values; dims = (1, 2)))  # of [s, t, chain]

function plaquette_angles(x)
    x0, x1 = x[:, :, 1, :], x[:, :, 2, :]
    x1_later = circshift(x1, (0, -1, 0))  # at t + 1
    x0_right = circshift(x0, (-1, 0, 0))  # at s + 1
    return x0 .+ x1_later .- x0_right .- x1
end

action(x) = lattice.beta .* per_chain(1 .- cos.(plaquette_angles(x)))
plaquette(x) = per_chain(cos.(plaquette_angles(x))) ./ (lattice.n_t * lattice.n_x)
charge(x) = round.(per_chain(wrap.(plaquette_angles(x))) ./ (2 * pi))

function force(x)  # + dS/dx
    sine = lattice.beta .* sin.(plaquette_angles(x))
    out = similar(x)
    out[:, :, 1, :] = sine .- circshift(sine, (1, 0, 0))  # less that at s - 1
    out[:, :, 2, :] = circshift(sine, (0, 1, 0)) .- sine  # that at t - 1, less
    return out
end

function leapfrog(x, v)
    step = lattice.step_size
    for _ in 1:lattice.n_steps
        v = v .- (step / 2) .* force(x)
        x = x .+ step .* v
        v = v .- (step / 2) .* force(x)
    end
    return x, v
end

energy(x, v) = action(x) .+ vec(sum(abs2, v; dims = (1, 2, 3))) ./ 2

function transition(x, v, u)
    y, w = leapfrog(x, v)
    delta_h = energy(y, w) .- energy(x, v)
    accept = u .< exp.(-delta_h)
    x_next = copy(x)
    for chain in findall(accept)
        x_next[:, :, :, chain] = wrap.(y[:, :, :, chain])
    end
    return Dict{String,Array{Float64}}(
        "x_proposed" => y, "v_proposed" => w, "logdet" => zero(u), "delta_h" => delta_h,
        "accept" => Float64.(accept), "x_next" => x_next, "step" => x_next, "v" => v, "u" => u,
    )
end

function update(x, seed)  # with random numbers of our own, a stream for every chain
    v, u = similar(x), zeros(size(x, 4))
    for chain in 1:size(x, 4)
        stream = MersenneTwister(UInt32[seed & 0xffffffff, seed >> 32, chain])
        v[:, :, :, chain] = randn(stream, size(x, 1), size(x, 2), size(x, 3))
        u[chain] = rand(stream)
    end
    return transition(x, v, u)
end

# `arrays` has the arrays of the call, `params` its numbers. Results have the names of PROTOCOL.md, a single one its op's.
function call(op, arrays, params)
    haskey(arrays, "x") || error("x: got no such array")
    chains = size(arrays["x"], 4)
    shape = (lattice.n_x, lattice.n_t, 2, chains)
    x = argument(arrays, "x", shape)
    op == "action" && return Dict(op => action(x))
    op == "force" && return Dict(op => force(x))
    op == "plaquette" && return Dict(op => plaquette(x))
    op == "charge" && return Dict(op => charge(x))
    if op == "forward" || op == "inverse"  # the inverse is the map between two flips of the momenta
        sign = op == "forward" ? 1.0 : -1.0
        y, w = leapfrog(x, sign .* argument(arrays, "v", shape))
        return Dict("x_proposed" => y, "v_proposed" => sign .* w, "logdet" => zeros(chains))
    end
    op == "transition" && return transition(x, argument(arrays, "v", shape), argument(arrays, "u", (chains,)))
    if op == "transcript" || op == "step"
        seed = tryparse(Int64, field(params, "seed"))
        (seed === nothing || seed < 0) && error("seed: expected an integer from 0 to 2^63 - 1")
        return update(x, seed)
    end
    error("op: got '$op', which is not in ops")
end

function start(parameters)
    beta = number(parameters, "beta", lattice.beta, 1e-9, 1e9)
    step_size = number(parameters, "step_size", lattice.step_size, 1e-9, 1e9)
    n_steps = number(parameters, "n_steps", lattice.n_steps, 1, 1e6)
    shape = field(parameters, "shape")
    extents = isempty(shape) ? [lattice.n_t, lattice.n_x] : something.(tryparse.(Int, split(shape, ",")), 0)
    if length(extents) != 2 || !all(n -> 2 <= n <= 4096, extents)
        error("shape: got [$shape], expected [T,X] with extents from 2 to 4096")
    end
    isinteger(n_steps) || error("n_steps: got $n_steps, expected an integer")
    lattice.beta, lattice.step_size, lattice.n_steps = beta, step_size, Int(n_steps)
    lattice.n_t, lattice.n_x = extents
    ops = ["action", "force", "plaquette", "charge", "forward", "inverse", "transition", "transcript", "step"]
    return ",\"name\":\"U(1) HMC in Julia\",\"language\":\"Julia\",\"version\":\"1.0\",\"theory\":\"u1\"" *
           ",\"ops\":[\"" * join(ops, "\",\"") * "\"],\"varies\":[\"beta\",\"shape\",\"step_size\",\"n_steps\"]" *
           ",\"parameters\":{\"beta\":$beta,\"shape\":[$(lattice.n_t),$(lattice.n_x)]" *
           ",\"step_size\":$step_size,\"n_steps\":$(lattice.n_steps)}"
end

main()
