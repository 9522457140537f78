//! Files as `torch.save` writes them.

use std::io::{Cursor, Write};

use safetensors::{Dtype, SafeTensors};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

/// A state dict to be saved: tensors as views of storages.
#[derive(Debug, Clone, Default)]
pub struct TorchFile {
    /// What holds the numbers.
    pub storages: Vec<(Dtype, Vec<u8>)>,
    /// The tensors.
    pub views: Vec<TorchView>,
}

/// A tensor: numbers of a storage, from `offset` on, `strides` apart.
#[derive(Debug, Clone)]
pub struct TorchView {
    /// Its name.
    pub name: String,
    /// The storage's place in the list.
    pub storage: usize,
    /// Of its first number, counted in numbers.
    pub offset: usize,
    /// Its shape.
    pub shape: Vec<usize>,
    /// From one number to the next of each dimension.
    pub strides: Vec<usize>,
}

impl TorchFile {
    /// The tensors of a safetensors file that `belong`, each in a storage of its own.
    pub fn of_safetensors(file: &[u8], belong: impl Fn(&str) -> bool) -> Self {
        let mut saved = Self::default();
        for (name, tensor) in SafeTensors::deserialize(file).unwrap().iter() {
            if belong(name) {
                saved.push(name, tensor.dtype(), tensor.shape(), tensor.data());
            }
        }
        saved
    }

    /// Adds a contiguous tensor in a storage of its own.
    pub fn push(&mut self, name: &str, dtype: Dtype, shape: &[usize], bytes: &[u8]) {
        let mut strides = vec![1; shape.len()];
        for n in (1..shape.len()).rev() {
            strides[n - 1] = strides[n] * shape[n].max(1);
        }
        self.views.push(TorchView {
            name: name.into(),
            storage: self.storages.len(),
            offset: 0,
            shape: shape.to_vec(),
            strides,
        });
        self.storages.push((dtype, bytes.to_vec()));
    }

    /// As PyTorch saves since version 1.6: a zip archive.
    pub fn zip(&self) -> Vec<u8> {
        let mut files = vec![("model/data.pkl".to_string(), self.pickle(&[]))];
        files.push(("model/version".into(), b"3\n".to_vec()));
        for (key, (_, bytes)) in self.storages.iter().enumerate() {
            files.push((format!("model/data/{key}"), bytes.clone()));
        }
        zipped(&files, CompressionMethod::Stored)
    }

    /// As PyTorch saved before: pickles, one behind the other, and the storages.
    pub fn legacy(&self) -> Vec<u8> {
        const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
        let mut file = [b"\x80\x02\x8a\x0a", &MAGIC[..], b".\x80\x02M\xe9\x03."].concat();
        file.extend(b"\x80\x02}");
        text(&mut file, "little_endian");
        file.extend(b"\x88s.");
        // A legacy storage has one more field: of what it is a view, here of nothing.
        file.extend(self.pickle(b"N"));
        file.extend(b"\x80\x02](");
        for key in 0..self.storages.len() {
            text(&mut file, &key.to_string());
        }
        file.extend(b"e.");
        for (dtype, bytes) in &self.storages {
            let count = bytes.len() as u64 / (dtype.bitsize() as u64 / 8);
            file.extend(count.to_le_bytes());
            file.extend(bytes);
        }
        file
    }

    fn pickle(&self, last_field: &[u8]) -> Vec<u8> {
        let mut pickle = b"\x80\x02}(".to_vec();
        for view in &self.views {
            let (dtype, bytes) = &self.storages[view.storage];
            text(&mut pickle, &view.name);
            pickle.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
            text(&mut pickle, "storage");
            pickle.extend(format!("ctorch\n{}\n", class(*dtype)).bytes());
            text(&mut pickle, &view.storage.to_string());
            text(&mut pickle, "cpu");
            number(&mut pickle, bytes.len() / (dtype.bitsize() / 8));
            pickle.extend(last_field);
            pickle.extend(b"tQ");
            number(&mut pickle, view.offset);
            for dims in [&view.shape, &view.strides] {
                pickle.push(b'(');
                dims.iter().for_each(|&dim| number(&mut pickle, dim));
                pickle.push(b't');
            }
            pickle.extend(b"\x89ccollections\nOrderedDict\n)RtR");
        }
        pickle.extend(b"u.");
        pickle
    }
}

/// An archive of these files.
pub fn zipped(files: &[(String, Vec<u8>)], method: CompressionMethod) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(method);
    for (name, content) in files {
        archive.start_file(name.as_str(), options).unwrap();
        archive.write_all(content).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

fn text(pickle: &mut Vec<u8>, text: &str) {
    pickle.push(b'X');
    pickle.extend((text.len() as u32).to_le_bytes());
    pickle.extend(text.bytes());
}

fn number(pickle: &mut Vec<u8>, number: usize) {
    pickle.extend(b"\x8a\x08");
    pickle.extend((number as i64).to_le_bytes());
}

fn class(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F64 => "DoubleStorage",
        Dtype::F32 => "FloatStorage",
        Dtype::F16 => "HalfStorage",
        Dtype::BF16 => "BFloat16Storage",
        Dtype::I64 => "LongStorage",
        Dtype::I32 => "IntStorage",
        Dtype::I8 => "CharStorage",
        Dtype::U8 => "ByteStorage",
        Dtype::BOOL => "BoolStorage",
        other => panic!("no storage of {other:?}"),
    }
}
