//! Objects of any format, of which only the needed fields take memory.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

use super::{
    objects::{Node, Object, Pod, SECTIONS, Service, Slice, WHOLE},
    unreadable::Error,
};

/// The kept part of an object, or of a list of objects.
#[derive(Debug, Default)]
pub(super) struct Skimmed {
    pub(super) kind: Option<String>,
    fields: Map<String, Value>,
    pub(super) items: Vec<Self>,
}

impl Skimmed {
    /// The objects in this value. Items of a list need no kind if the list has it, as
    /// `PodList`; then `kind` is theirs.
    pub(super) fn objects(
        self,
        kind: Option<&str>,
        take: &mut dyn FnMut(Object) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Some(kind) = self.kind.as_deref().or(kind) else {
            return Err(Error::NotObjects("missing field `kind`".to_owned()));
        };
        match kind {
            "Node" => take(Object::Node(typed::<Node>(self.fields)?)),
            "Pod" => take(Object::Pod(typed::<Pod>(self.fields)?)),
            "Service" => take(Object::Service(typed::<Service>(self.fields)?)),
            "EndpointSlice" => take(Object::Slice(typed::<Slice>(self.fields)?)),
            _ => match kind_of_items(kind) {
                Some(of_items) => self
                    .items
                    .into_iter()
                    .try_for_each(|item| item.objects(of_items, take)),
                None => Ok(()),
            },
        }
    }
}

/// Whether a kind is that of a list (outer `Some`), and the kind of its items if the name has
/// it: `List`, `PodList`.
pub(super) fn kind_of_items(kind: &str) -> Option<Option<&str>> {
    let of_items = kind.strip_suffix("List")?;
    Some(Some(of_items).filter(|kind| !kind.is_empty()))
}

fn typed<T: DeserializeOwned>(fields: Map<String, Value>) -> Result<T, Error> {
    serde_json::from_value(Value::Object(fields))
        .map_err(|error| Error::NotObjects(error.to_string()))
}

impl<'de> Deserialize<'de> for Skimmed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Skim(|_: Option<&str>, item| Ok::<_, Error>(Some(item))).deserialize(deserializer)
    }
}

/// Skims an object. The function gets each item, with the list's kind if it is known then, and
/// returns what to keep.
pub(super) struct Skim<F>(pub(super) F);

impl<'de, F> DeserializeSeed<'de> for Skim<F>
where
    F: FnMut(Option<&str>, Skimmed) -> Result<Option<Skimmed>, Error>,
{
    type Value = Skimmed;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Skimmed, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, F> Visitor<'de> for Skim<F>
where
    F: FnMut(Option<&str>, Skimmed) -> Result<Option<Skimmed>, Error>,
{
    type Value = Skimmed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a Kubernetes object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Skimmed, A::Error> {
        let mut skimmed = Skimmed::default();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "kind" => skimmed.kind = map.next_value()?,
                "items" => map.next_value_seed(Items {
                    list: &mut skimmed,
                    each: &mut self.0,
                })?,
                whole if WHOLE.contains(&whole) => {
                    let value = map.next_value()?;
                    skimmed.fields.insert(key, value);
                }
                _ => match SECTIONS.iter().find(|(section, _)| *section == key) {
                    Some((_, keys)) => match map.next_value_seed(Section(keys))? {
                        Value::Null => {}
                        value => drop(skimmed.fields.insert(key, value)),
                    },
                    None => drop(map.next_value::<IgnoredAny>()?),
                },
            }
        }
        Ok(skimmed)
    }
}

/// Reads the items of a list one by one.
struct Items<'a, F> {
    list: &'a mut Skimmed,
    each: &'a mut F,
}

impl<'de, F> DeserializeSeed<'de> for Items<'_, F>
where
    F: FnMut(Option<&str>, Skimmed) -> Result<Option<Skimmed>, Error>,
{
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, F> Visitor<'de> for Items<'_, F>
where
    F: FnMut(Option<&str>, Skimmed) -> Result<Option<Skimmed>, Error>,
{
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of Kubernetes objects")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element()? {
            let kept = (self.each)(self.list.kind.as_deref(), item);
            self.list.items.extend(kept.map_err(de::Error::custom)?);
        }
        Ok(())
    }
}

/// Reads the needed keys of a mapping. Of any other value, only its type is kept, for an error.
struct Section(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for Section {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Section {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut chosen = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if self.0.contains(&key.as_str()) {
                chosen.insert(key, map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Value::Object(chosen))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Array(Vec::new()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }
}
